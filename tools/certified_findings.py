"""Write docs/certified-findings.md: what the claims about denoised smoothing come to, from the tables of their study.

Run after `snakemake --configfile config/certificates.yaml`:
    python tools/certified_findings.py [results/tables] > docs/certified-findings.md
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from findings_tables import interval, markdown, read, share
from provenance import changed, made

K = "k=0.2"
EXPERIMENTS = ("radius", "adaptive", "certified")
ADAPTIVE = {"pgd": "adaptive_pgd", "top_k_attack": "top_k_attack_through_smoothing"}
"""Blind attack → the same through the smoothing."""
IN_USE = ("lipschitz", "grouped", "renyi")
"""Certificates of maps that are sound and on votes."""


def level(eps: float) -> str:
    """A radius as a fraction of 255."""
    return f"{255 * eps:.3g}/255"


def wilson(hits: pd.Series) -> tuple[float, float, float]:
    """Share with its 95 % Wilson interval."""
    n, z = len(hits), 1.959964
    share = float(hits.mean())
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return share, centre - half, centre + half


def accuracies(predictions: pd.DataFrame, attacks: pd.DataFrame) -> pd.DataFrame:
    """One row per (attack, smoothing): kind, eps, mean, low, high."""
    rows = []
    for (attack, smoothing), part in predictions.groupby(["attack", "smoothing"]):
        mean, low, high = wilson(part.prediction == part.label)
        rows.append({"attack": attack, "smoothing": smoothing, "mean": mean, "low": low, "high": high, "n": len(part)})
    return pd.DataFrame(rows).merge(attacks[["attack", "kind", "eps"]], on="attack").sort_values(["kind", "eps"])


def pivot(frame: pd.DataFrame, index: list[str], columns: list[str]) -> pd.DataFrame:
    """Intervals as text, rows × columns in the order of the frame."""
    frame = frame.assign(text=frame.apply(interval, axis=1))
    by_radius = frame.sort_values("eps", kind="stable")
    order = list(dict.fromkeys(by_radius[columns].itertuples(index=False, name=None)))
    table = frame.pivot(index=index, columns=columns, values="text").fillna("–")
    table = table[[c if len(columns) > 1 else c[0] for c in order]]
    table.index = [" / ".join(i) if isinstance(i, tuple) else i for i in table.index]
    table.columns = [", ".join(map(str, c)) if isinstance(c, tuple) else c for c in table.columns]
    return table


def cells_apart(summary: pd.DataFrame, first: str, second: str) -> tuple[int, int, int]:
    """In how many cells the interval of one smoothing lies above that of another, and the reverse; and the number of cells."""
    keys = ["method", "attack"]
    both = summary[summary.smoothing == first].merge(
        summary[summary.smoothing == second], on=keys, suffixes=("", "_other")
    )
    both = both[both.method != "random"]
    return int((both.low > both.high_other).sum()), int((both.high < both.low_other).sum()), len(both)


def apart(summary: pd.DataFrame, first: str, second: str) -> str:
    """:func:`cells_apart` in words."""
    above, below, cells = cells_apart(summary, first, second)
    return f"above in {above}, below in {below}, not distinguished in {cells - above - below} of {cells} cells"


def by_radius(folder: Path, experiment: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracies, and the summary with kind and radius of the attack, of an experiment."""
    summary, predictions, attacks = (read(folder, experiment, name) for name in ("summary", "predictions", "attacks"))
    found = accuracies(predictions, attacks).assign(radius=lambda f: f.eps.map(level))
    rows = summary.merge(attacks[["attack", "kind", "eps"]], on="attack").assign(radius=lambda f: f.eps.map(level))
    return found, rows


def top_patches(rows: pd.DataFrame, reference: str = "clean") -> pd.DataFrame:
    """Rows of the overlap of the top 20 % of patches with the map under ``reference``."""
    return rows[(rows.metric == "top_k_overlap") & (rows.reference == reference) & (rows.variant == K)]


def blind_found(folder: Path) -> str:
    """What a blind attack does to predictions, top patches and SaCo, with and without smoothing."""
    found, rows = by_radius(folder, "radius")
    ends = found.sort_values("eps").groupby("smoothing")["mean"].agg(["first", "last"])
    attacked = rows[rows.eps > 0]
    closer, _, cells = cells_apart(top_patches(attacked), "dds", "none")
    official = cells_apart(top_patches(attacked), "official", "dds")
    above, below, scored = cells_apart(attacked.query("metric == 'saco' and reference == ''"), "dds", "none")
    gain = (
        "no gain in faithfulness is found"
        if not above
        else "faithfulness gains in some cells"
        if above > below
        else ("faithfulness does not gain on the whole")
    )
    return (
        f"Blind PGD up to {level(found.eps.max())} lowers accuracy from {ends['first']['none']:.2f} to {ends['last']['none']:.2f} "
        f"without smoothing, and from {ends['first']['dds']:.2f} to {ends['last']['dds']:.2f} behind `dds`. Behind `dds` the top patches stay "
        f"closer to the clean map in {share(closer, cells)} cells (intervals that do not meet). SaCo under attack is higher there in "
        f"{share(above, scored)} cells and lower in {share(below, scored)}: {gain}. Behind the published `official` mode the top "
        f"patches stay closer than behind `dds` in {share(official[0], official[2])} cells."
    )


def adaptive_found(folder: Path) -> str:
    """Whether attacks that see the smoothing do more harm behind it."""
    found, rows = by_radius(folder, "adaptive")
    overlap = top_patches(rows)
    verdicts = [
        *compared(found, "pgd", ADAPTIVE["pgd"]),
        *compared(overlap[overlap.method == "transformer_mm"], "top_k_attack", ADAPTIVE["top_k_attack"]),
    ]
    lower = sum(verdict == "lower" for _, _, _, verdict in verdicts)
    return (
        f"Attacks that see the smoothing do more harm behind `dds` in {share(lower, len(verdicts))} comparisons with blind attacks "
        "of the same radius (accuracy and top patches)."
    )


def proved_found(folder: Path) -> str:
    """How far the certificates reach beside the attacks."""
    maps, attacks = certified_maps(folder), blind_attacks(folder)
    shares = [
        (level(eps), float((maps.radius > length).mean()))
        for eps, length in zip(attacks.eps, attacks.mean_l2, strict=True)
    ]
    told = ", ".join(f"{value:.2f} at {radius}" for radius, value in shares)
    uncovered = [radius for radius, value in shares if value == 0]
    rest = (
        f"at {uncovered[0]} no certificate covers the attack" if uncovered else "at every radius some maps are covered"
    )
    return (
        "What is proved: the share of maps (all σ, β and k) with a sound certificate beyond the mean l2 length of blind PGD is "
        f"{told}; {rest}."
    )


def blind_attacks(folder: Path) -> pd.DataFrame:
    """The attacks of the first section by radius, with their mean l2 length."""
    attacks = read(folder, "radius", "attacks")
    return attacks[attacks.kind == "pgd"].sort_values("eps")


def certified_maps(folder: Path) -> pd.DataFrame:
    """Radii of the certificate ``grouped`` of all maps but those of random."""
    rows = read(folder, "certified", "certificates")
    return rows[rows.method.ne("") & rows.method.ne("random") & rows.sound & (rows.certificate == "grouped")]


def radius_section(folder: Path) -> str:
    """Claim: predictions and explanations stay behind the smoothing while attacks move them without it."""
    found, rows = by_radius(folder, "radius")
    found, rows = found.sort_values("eps"), rows.sort_values(["eps", "smoothing"])
    predictions = read(folder, "radius", "predictions")
    samples = int(predictions[predictions.smoothing == "dds"].samples.max())
    text = [
        "## Robustness against the radius of a blind attack",
        "",
        f"PGD (10 steps) on the undefended classifier, n = {found.n.min()} images. `dds` is calibrated, σ = 0.25, {samples} samples; "
        "`official` is the published notebook, δ = 8/255, 45 steps, 2 samples.",
        "",
        "**Accuracy**",
        "",
        markdown(pivot(found, ["smoothing"], ["radius"]), "smoothing"),
        "",
    ]
    overlap, undefended = top_patches(rows), top_patches(rows, "undefended")
    saco = rows.query("metric == 'saco' and reference == ''")
    for title, part in (
        ("Top 20 % overlap with the clean map behind the same smoothing", overlap),
        ("Top 20 % overlap with the clean, undefended map", undefended),
        ("SaCo (K = 10, undefended classifier on the input)", saco),
    ):
        text += [
            f"**{title}**",
            "",
            markdown(pivot(part, ["method", "smoothing"], ["radius"]), "method / smoothing"),
            "",
        ]
    attacked = overlap[overlap.eps > 0]
    worse = undefended[undefended.eps > 0]
    text += [
        "What holds, by intervals that do not meet (random maps left out):",
        "",
        f"* stability, `dds` against none: {apart(attacked, 'dds', 'none')};",
        f"* stability, `official` against none: {apart(attacked, 'official', 'none')};",
        f"* stability, `official` against `dds`: {apart(attacked, 'official', 'dds')};",
        f"* similarity to the clean undefended map under attack, `dds` against none: {apart(worse, 'dds', 'none')};",
        f"* SaCo on clean images, `dds` against none: {apart(saco[saco.eps == 0], 'dds', 'none')};",
        f"* SaCo under attack, `dds` against none: {apart(saco[saco.eps > 0], 'dds', 'none')};",
        f"* SaCo under attack, `official` against `dds`: {apart(saco[saco.eps > 0], 'official', 'dds')}.",
        "",
        "Stability alone is not faithfulness: random maps, which do not look at the image, reach an overlap of 1.",
        "",
    ]
    return "\n".join(text)


def compared(frame: pd.DataFrame, blind: str, adaptive: str) -> list[tuple[str, float, float, str]]:
    """Behind ``dds`` at each radius: the radius, the mean under both attacks, and whether the adaptive one's interval lies lower."""
    rows = frame[frame.smoothing == "dds"].set_index(["kind", "eps"])
    found = []
    for eps in sorted(rows.loc[adaptive].index):
        a, b = rows.loc[(blind, eps)], rows.loc[(adaptive, eps)]
        verdict = "lower" if b.high < a.low else "higher" if b.low > a.high else "not distinguished"
        found.append((level(eps), a["mean"], b["mean"], verdict))
    return found


def adaptive_section(folder: Path) -> str:
    """Claim tested: does robustness survive attacks that see the smoothing, or that aim at the explanation."""
    found, rows = by_radius(folder, "adaptive")
    overlap = top_patches(rows).sort_values(["kind", "eps"])
    aimed = overlap[overlap.method == "transformer_mm"]

    def drop(frame: pd.DataFrame, blind: str) -> str:
        parts = [
            f"{radius}: {a:.2f} blind, {b:.2f} adaptive ({verdict})"
            for radius, a, b, verdict in compared(frame, blind, ADAPTIVE[blind])
        ]
        return "; ".join(parts)

    return "\n".join(
        [
            "## Attacks that see the smoothing, and attacks on the explanation",
            "",
            "`adaptive_pgd` and `top_k_attack_through_smoothing` take gradients through the one-shot denoiser, averaged over 4 noise draws per "
            "step (EOT). The top-k attacks aim at Transformer-MM and keep the predicted class.",
            "",
            "**Accuracy**",
            "",
            markdown(pivot(found, ["kind", "smoothing"], ["radius"]), "attack / smoothing"),
            "",
            f"Behind `dds`, {drop(found, 'pgd')}.",
            "",
            "**Top 20 % overlap of Transformer-MM with its clean map**",
            "",
            markdown(pivot(aimed, ["kind", "smoothing"], ["radius"]), "attack / smoothing"),
            "",
            f"Behind `dds`, {drop(aimed, 'top_k_attack')}.",
            "",
        ]
    )


def certified_section(folder: Path) -> str:
    """What is proved."""
    rows = read(folder, "certified", "certificates")
    blind = blind_attacks(folder)
    prediction = rows[rows.certificate == "cohen"]
    lines = []
    for (smoothing, sigma), part in prediction.groupby(["smoothing", "sigma"]):
        right = (part.prediction == part.label) & (part.radius > 0)
        lines.append(
            {
                "smoothing": smoothing,
                "σ": f"{sigma:g}",
                "n": len(part),
                "samples": f"{part.selection.iloc[0]} + {part.samples.iloc[0]}",
                "abstains": f"{(part.prediction == -1).mean():.2f}",
                **{f"certified at {r:g}": f"{(right & (part.radius >= r)).mean():.2f}" for r in (0.0, 0.1, 0.25, 0.5)},
                "average radius": f"{np.where(right, part.radius, 0).mean():.3f}",
                "largest": f"{part.radius.max():.3f}",
            }
        )
    table = pd.DataFrame(lines).set_index("smoothing")
    maps = rows[rows.method.ne("") & rows.method.ne("random")]
    best = maps[maps.sound & maps.certificate.isin(IN_USE)]
    cells = []
    for (method, k, beta), part in maps.groupby(["method", "k", "beta"]):
        cell: dict[str, object] = {"method": method, "k": str(k), "β": f"{beta:g}"}
        for name in ("grouped", "renyi", "grouped_share", "renyi_published", "paper_closed_form"):
            chosen = part[(part.certificate == name) & (part.smoothing == "dds_0.25")]
            radius = chosen.radius.dropna()
            cell[name] = f"{(radius > 0).sum() / max(1, len(chosen)):.2f}; {radius.median():.4f}; {radius.max():.3f}"
        cells.append(cell)
    joint = rows[(rows.certificate == "faithfulness") & rows.method.ne("random")]
    limits = joint[joint.radius > 0].limit.value_counts()
    grouped = certified_maps(folder)
    covered = pd.DataFrame(
        {
            f"{level(eps)} (l2 {length:.2f})": {
                f"{sigma:g} / {beta:g}": f"{(part.radius > length).mean():.2f}"
                for (sigma, beta), part in grouped.groupby(["sigma", "beta"])
            }
            for eps, length in zip(blind.eps, blind.mean_l2, strict=True)
        }
    )
    spread = best.groupby("beta").radius.apply(lambda r: (r > 0).mean())
    closed = maps[maps.certificate == "paper_closed_form"].merge(
        maps[maps.certificate == "renyi_published"],
        on=["image_id", "method", "smoothing", "k", "beta"],
        suffixes=("", "_exact"),
    )
    ratio = (closed.radius / closed.radius_exact).replace([np.inf], np.nan).dropna()
    return "\n".join(
        [
            "## What is proved",
            "",
            "Clean images, calibrated smoothing at three σ; failure probability 0.001 per row. Radii are l2 over all pixels in [0, 1] units.",
            "",
            "**Predictions** (Cohen et al. 2019)",
            "",
            markdown(table, "smoothing"),
            "",
            "**Maps**, `dds_0.25`: share of images with a radius above 0; median; largest radius. `grouped` and `renyi` on votes and "
            "`grouped_share` on shares are guarantees (votes rank patches by how often they lead, shares by their mean relevance); `renyi_published` (exact Γ) and `paper_closed_form` take sample means for expectations "
            "and guarantee nothing.",
            "",
            markdown(pd.DataFrame(cells).set_index("method"), "method"),
            "",
            "Share of certified images over all methods, σ and k, best sound certificate in use: "
            + ", ".join(f"β = {b:g}: {v:.2f}" for b, v in spread.items())
            + ".",
            "",
            f"**(R, D_α, γ, β, k)-faithfulness**: where R > 0 ({int((joint.radius > 0).sum())} of {len(joint)} rows), the limiting part is "
            + ", ".join(f"the {name} in {count}" for name, count in limits.items())
            + (". " if len(limits) else "nothing. ")
            + f"Largest R: {joint.radius.max():.3f}.",
            "",
            f"**Closed form against exact**: its radius is {ratio.median():.3f} times the exact one in the median and {ratio.max():.3f} times at "
            "most on these maps; above 1 it claims more than holds.",
            "",
            "**Size.** Share of maps (all methods but random, all images and k) whose sound radius exceeds the mean l2 length of a blind "
            "PGD attack of the first section; 0.00 means that the attack is covered by no certificate, and what is seen under it "
            "is an observation, not a theorem.",
            "",
            markdown(covered, "σ / β"),
            "",
            f"The largest sound radius of a map is {best.radius.max():.3f}, of a prediction {prediction.radius.max():.3f}.",
            "",
        ]
    )


def size_note(folder: Path) -> str:
    """A sentence where the tables come from fewer images or samples than the study's configuration asks for."""
    study = yaml.safe_load((Path(__file__).parents[1] / "config" / "certificates.yaml").read_text(encoding="utf-8"))
    rows = read(folder, "certified", "certificates")
    found = {
        "images": int(read(folder, "radius", "attacks").n.max()),
        "certified images": rows.image_id.nunique(),
        "certified samples": int((rows.selection + rows.samples).max()),
    }
    asked = {
        "images": study["datasets"]["fashion_mnist"]["images"],
        "certified images": study["datasets"]["fashion_mnist_32"]["images"],
        "certified samples": study["smoothings"]["dds_0.25"]["samples"],
    }
    smaller = [f"{found[name]} of {asked[name]} {name}" for name in asked if found[name] != asked[name]]
    return f"**A smaller run of that study**: {', '.join(smaller)}.\n" if smaller else ""


def main() -> None:
    """Print the document."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "results/tables")
    print("# Findings on denoised smoothing and certificates\n")
    print(f"{blind_found(folder)} {adaptive_found(folder)} {proved_found(folder)}\n")
    print(
        made("certified", folder.parent, EXPERIMENTS, "95 % intervals by bootstrap over images (accuracy: Wilson)")
        + "\n"
    )
    if note := size_note(folder):
        print(note)
    print(radius_section(folder))
    print(adaptive_section(folder))
    print(certified_section(folder) + changed("certified"), end="")


if __name__ == "__main__":
    main()
