"""Write docs/noise-findings.md: what the law of the noise changes on images, from the tables of its study.

Run after `snakemake --configfile config/noise.yaml`; `vitfaith reproduce noise --update` does both and copies the pictures:
    python tools/noise_findings.py [results/tables] > docs/noise-findings.md
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import yaml
from findings_tables import interval, markdown, read, top_patches
from provenance import changed, made

from vitfaith.figures.accuracy_by_condition import share_correct
from vitfaith.statistics import confidence_interval

NOISES = ("gaussian", "laplace", "uniform")
NORMS = {"l1": "l1", "radius": "l2", "linf": "l∞"}
METHOD, K, BETA = "transformer_mm", 5, 0.2
PARTS = ("prediction", "map")
OWN = "PGD 32/255 through the own noise"
CLOSE = 0.25
"""Factors this near to 1 are called close."""
Radii = dict[str, pd.DataFrame]
"""Of predictions and of maps."""
ATTACKS = {"clean": "clean", "pgd_16": "PGD 16/255", "pgd_32": "PGD 32/255"}


def mean_text(values: pd.Series, digits: int) -> str:
    """Mean and its bootstrap interval over images."""
    mean, low, high = confidence_interval(values.to_numpy(float))
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def best_radii(rows: pd.DataFrame, certificates: tuple[str, ...], of_map: bool) -> pd.DataFrame:
    """Largest radius of each image of the clean condition: index (noise, image), columns l1, radius, linf.

    Of predictions, 0 where the certified class is not the label.
    """
    rows = rows[(rows.attack == "clean") & rows.certificate.isin(certificates)]
    if of_map:
        rows = rows[(rows.method == METHOD) & (rows.k == K) & (rows.beta == BETA)]
        columns = {name: rows[name] for name in NORMS}
    else:
        rows = rows[rows.method == ""]
        columns = {name: rows[name].where(rows.prediction == rows.label, 0.0) for name in NORMS}
    found = rows[["noise", "image_id"]].assign(**columns)
    return found.groupby(["noise", "image_id"]).max()


def radius_table(radii: pd.DataFrame) -> pd.DataFrame:
    """Noise × share certified and mean radius in each norm, with intervals."""
    cells = {}
    for noise in (n for n in NOISES if n in radii.index.get_level_values("noise")):
        own = radii.loc[noise]
        share = share_correct(
            pd.DataFrame({"prediction": (own.radius > 0).astype(int), "certified": 1}), "certified", 0.95
        )
        means = {f"{norm} radius": mean_text(own[name], 5 if norm == "l∞" else 4) for name, norm in NORMS.items()}
        cells[noise] = {"certified": interval(pd.Series(share)), **means}
    return pd.DataFrame(cells).T


def ratio(radii: pd.DataFrame, column: str, other: str) -> str:
    """Gaussian radius over that of another noise, mean over mean, from the images certified behind both."""
    wide = radii[column].unstack("noise")
    both = wide[(wide["gaussian"] > 0) & (wide[other] > 0)]
    if both.empty:
        return "– (no image is certified behind both)"
    return f"{both['gaussian'].mean() / both[other].mean():.2f}"


def apart(texts: list[str]) -> bool:
    """Whether the intervals of two of the cells do not meet; a cell that is not compared has none."""
    ends = [tuple(map(float, text.split("[")[1].strip("]").split(","))) for text in texts if "[" in text]
    return len(ends) > 1 and max(low for low, _ in ends) > min(high for _, high in ends)


def attack_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy and top-k overlap with the clean map behind the same noise, smoothing × attack."""
    accuracy: dict[str, dict[str, str]] = {}
    overlap: dict[str, dict[str, str]] = {}
    sources = [("noise", "", ATTACKS), *((f"adaptive_{n}", "few_", {f"through_{n}": OWN}) for n in NOISES)]
    for experiment, prefix, attacks in sources:
        predictions, summary = read(folder, experiment, "predictions"), read(folder, experiment, "summary")
        chosen = top_patches(summary).query("method == @METHOD")
        for attack, name in attacks.items():
            for smoothing in (prefix + n for n in NOISES):
                noise = smoothing.removeprefix(prefix)
                part = predictions[(predictions.attack == attack) & (predictions.smoothing == smoothing)]
                if len(part):
                    found = share_correct(part, "label", 0.95)
                    accuracy.setdefault(noise, {})[name] = interval(pd.Series(found))
                for _, row in chosen[(chosen.attack == attack) & (chosen.smoothing == smoothing)].iterrows():
                    overlap.setdefault(noise, {})[name] = interval(row)
    return tuple(pd.DataFrame(found).T.reindex(NOISES).fillna("–") for found in (accuracy, overlap))  # type: ignore[return-value]


def size_note(folder: Path) -> str:
    """A sentence where the tables come from fewer images or samples than the study asks for."""
    study = yaml.safe_load((Path(__file__).parents[1] / "config" / "noise.yaml").read_text(encoding="utf-8"))
    rows, predictions = read(folder, "noise", "certificates"), read(folder, "noise", "predictions")
    attacked = predictions[(predictions.attack != "clean") & (predictions.smoothing == "gaussian")]
    samples = study["smoothings"]["gaussian"]["samples"]
    pairs = {
        "images": (rows.image_id.nunique(), study["datasets"]["fashion_mnist"]["images"]),
        "certified samples": (int((rows.selection + rows.samples).max()), samples),
        "samples under attack": (int(attacked.samples.max()), samples),
    }
    smaller = [f"{found} of {asked} {name}" for name, (found, asked) in pairs.items() if found != asked]
    if not smaller:
        return ""
    return (
        f"**A smaller run of that study**: {', '.join(smaller)}. "
        "`snakemake --configfile config/noise.yaml` makes the full study, whose values under attack differ.\n\n"
    )


def close(factors: list[str]) -> bool:
    """Whether all factors are known and within :data:`CLOSE` of 1."""
    return all(not f.startswith("–") and abs(float(f) - 1) <= CLOSE for f in factors)


def found(by_quantile: Radii, by_divergence: Radii, accuracy: pd.DataFrame) -> str:
    """The first paragraph: whether Gaussian noise certifies larger radii, and what attacks through the noise leave."""
    l2 = {(part, n): ratio(by_quantile[part], "radius", n) for part in PARTS for n in NOISES[1:]}
    l1 = {(part, n): ratio(by_quantile[part], "l1", n) for part in PARTS for n in NOISES[1:]}
    kept = {part: ratio(by_divergence[part], "radius", "laplace") for part in PARTS}
    factors = [*kept.values(), *(l2[part, "uniform"] for part in PARTS)]
    holds = all(not f.startswith("–") and float(f) > 1 for f in factors)
    attacked = [str(accuracy.loc[n, OWN]) for n in NOISES]
    return (
        "**Claim: Gaussian noise certifies nearly the largest radii in l2 and l∞ (FViT, arXiv 2311.17983).** "
        f"{'Among the three laws it does, for predictions and maps' if holds else 'It does not on these images'}. The mean l2 radius of "
        f"predictions behind Gaussian noise is {kept['prediction']} times the radius behind Laplace noise and {l2['prediction', 'uniform']} times "
        f"the radius behind uniform noise; for maps the factors are {kept['map']} and {l2['map', 'uniform']}. "
        f"With the certificates through l1 alone, the factors over Laplace noise are {l2['prediction', 'laplace']} and {l2['map', 'laplace']}"
        f"{conversion(l2, kept)}. In l1 itself the factors are {l1['prediction', 'laplace']} (Laplace) and {l1['prediction', 'uniform']} (uniform) "
        f"for predictions, {l1['map', 'laplace']} and {l1['map', 'uniform']} for maps: {'the laws are close' if close([*l1.values()]) else 'the laws differ'}; "
        f"below 1 the other law is better. Attacks through the noise leave an accuracy of {attacked[0]} (Gaussian), {attacked[1]} (Laplace) and "
        f"{attacked[2]} (uniform): {'some intervals do not overlap' if apart(attacked) else 'the three intervals overlap, so no law is found more robust'}."
    )


def conversion(l2: dict[tuple[str, str], str], kept: dict[str, str]) -> str:
    """Says so where the certificates through l1 at least double every factor over Laplace noise."""
    pairs = [(l2[part, "laplace"], kept[part]) for part in PARTS]
    doubled = all("–" not in a + b and float(a) >= 2 * float(b) for a, b in pairs)
    return ": most of that is lost in the conversion from l1, not by the noise" if doubled else ""


def main() -> None:
    """Print the document."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "results/tables")
    rows, both = read(folder, "noise", "certificates"), read(folder, "divergence", "certificates")
    sigma, images = rows.sigma.iloc[0], rows.image_id.nunique()
    samples = int((rows.selection + rows.samples).max())
    by_quantile = {part: best_radii(rows, ("cohen", "grouped"), part == "map") for part in PARTS}
    by_divergence = {
        part: best_radii(both, ("cohen", "grouped", "renyi", "renyi_prediction"), part == "map") for part in PARTS
    }
    accuracy, overlap = attack_tables(folder)
    print("# Findings on the law of the noise\n")
    print(f"{found(by_quantile, by_divergence, accuracy)}\n\n{size_note(folder)}", end="")
    print(made("noise", folder.parent, intervals="95 % intervals by bootstrap over images (shares: Wilson)") + "\n")
    print("Theory: [noise.md](noise.md).\n")
    print(
        f"{images} Fashion-MNIST test images, σ = {sigma:g}, {samples} noise samples per image for certificates, failure probability 0.001 per "
        f"row; maps of `{METHOD}`, k = {K}, β = {BETA:g}. Factors are ratios of means over the images certified behind both. Means "
        "over images count 0 where nothing is certified, with 95 % bootstrap intervals; shares have Wilson intervals. "
        "Radii are in [0, 1] pixel units over all pixels.\n"
    )
    print("![Certificates and attacks by the law of the noise](images/noise.png)\n")
    print(
        f"*Left: share of the {images} images with a larger certified radius (`cohen` above, `grouped` below), logarithmic axes, Wilson bands. "
        "Right: accuracy and mean top 20 % overlap with the clean map behind the same noise, under blind PGD on the undefended "
        "classifier, with 95 % intervals. One colour and line a law of noise.*\n"
    )
    for title, radii in (
        ("Predictions, `cohen`: the certified class is the label", by_quantile["prediction"]),
        ("Predictions, best of `cohen` and `renyi_prediction`", by_divergence["prediction"]),
        ("Maps, `grouped`", by_quantile["map"]),
        ("Maps, best of `grouped` and `renyi`", by_divergence["map"]),
    ):
        print(f"**{title}**\n\n{markdown(radius_table(radii), 'noise')}\n")
    print("![The same with certificates by divergence](images/noise_by_divergence.png)\n")
    print(
        "*The same with the larger radius of `cohen` and `renyi_prediction` above, of `grouped` and `renyi` below; n as above.*\n"
    )
    print(f"**Accuracy under attack**\n\n{markdown(accuracy, 'noise')}\n")
    print(f"**Top 20 % overlap with the clean map behind the same noise**\n\n{markdown(overlap, 'noise')}")
    print(changed("noise"), end="")


if __name__ == "__main__":
    main()
