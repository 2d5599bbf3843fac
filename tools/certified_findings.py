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
from certified_found import adaptive_found, blind_found, proved_found
from certified_tables import ADAPTIVE, blind_attacks, by_radius, cells_apart, certified_maps, compared, level
from findings_tables import interval, markdown, read, top_patches
from provenance import changed, made

EXPERIMENTS = ("radius", "adaptive", "certified")
IN_USE = ("lipschitz", "grouped", "renyi")
"""Certificates of maps that are sound and on votes."""


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


def apart(summary: pd.DataFrame, first: str, second: str) -> str:
    """:func:`cells_apart` in words."""
    above, below, cells = cells_apart(summary, first, second)
    return f"above in {above}, below in {below}, not distinguished in {cells - above - below} of {cells} cells"


def radius_section(folder: Path) -> str:
    """Claim: predictions and explanations stay behind the smoothing while attacks move them without it."""
    found, rows = by_radius(folder, "radius")
    found, rows = found.sort_values("eps"), rows.sort_values(["eps", "smoothing"])
    predictions = read(folder, "radius", "predictions")
    samples = int(predictions[predictions.smoothing == "dds"].samples.max())
    text = [
        "## Robustness against the radius of a blind attack",
        "",
        f"PGD (10 steps) on the undefended classifier, n = {found.n.min()} images, maps and scores of {rows[rows.n > 0].n.min()} to {rows.n.max()}. `dds` is calibrated, σ = 0.25, {samples} samples; "
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
        "What holds, by intervals that do not meet before rounding (random maps left out):",
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
