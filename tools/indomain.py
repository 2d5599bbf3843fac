"""docs/indomain.md and its figure from the tables of a finished run of config/indomain.yaml.

Run: python tools/indomain.py results/tables/experiment=indomain [NOTE [PAGE]]; the note says how the run differs from the configuration.
PAGE is another file to write; the figure goes to the folder images beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from findings_tables import listed, share
from matplotlib.lines import Line2D
from provenance import changed, made

from vitfaith.statistics.clusters import Codes, cluster_codes
from vitfaith.statistics.orders import order_agreement

PAGE = Path(__file__).parents[1] / "docs" / "indomain.md"
FILLS = ("image_mean", "black", "blur")
KINDS = {"saco": 1, "deletion": -1, "insertion": 1}
"""Metric → sign by which larger is better."""
ORIGINAL = "vit_patch4"
Reading = tuple[str, str]
"""Fill, and the model that answers."""

HEAD = """# In-domain evaluation

{verdict}

{made}

Does the order of methods change when metrics are read on a network that knows removed patches, and does the choice of the fill still
matter there? The maps explain `vit_patch4`. They are scored on `vit_patch4` itself and, by `maps_of`, on networks fine-tuned from it on
images without a random share of their patches, one network per fill ([training.md](training.md)). A reading is *in-domain* where the fill
of the metric is the fill of the network's training. Kendall's τ compares the orders of {methods} methods by their means over {images} images;
95 % intervals resample images (clusters whole, where images have one). One of the methods is Random.{note}

"""


def scores(folder: Path) -> pd.DataFrame:
    """Per-image scores as text columns, without unusable ones."""
    frame = pd.read_parquet(folder / "scores.parquet")
    frame = frame.astype(dict.fromkeys(("model", "metric", "method", "image_id"), str))
    return frame[np.isfinite(frame["value"])]


def grids(frame: pd.DataFrame, kind: str) -> tuple[dict[Reading, pd.DataFrame], Codes | None]:
    """Reading → scores (images × methods), larger is better, of the images and methods that all readings share."""
    found = {}
    for fill in FILLS:
        for model in (ORIGINAL, f"knows_{fill}"):
            part = frame[(frame["metric"] == f"{kind}_{fill}") & (frame["model"] == model)]
            found[fill, model] = KINDS[kind] * part.pivot(index="image_id", columns="method", values="value")
    whole = pd.concat(found.values(), axis=1, keys=range(len(found))).dropna()
    clusters = frame.drop_duplicates("image_id").set_index("image_id").get("cluster")
    codes = None if clusters is None else cluster_codes(clusters.reindex(whole.index))
    return {reading: cast(pd.DataFrame, whole[i]) for i, reading in enumerate(found)}, codes


def rows(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per comparison of two orders: metric, kind of comparison, what is compared, τ with its interval."""
    lines = []
    for kind in KINDS:
        found, codes = grids(frame, kind)

        def compare(
            group: str,
            what: str,
            a: Reading,
            b: Reading,
            found: Mapping[Reading, pd.DataFrame] = found,
            codes: Codes | None = codes,
            kind: str = kind,
        ) -> None:
            tau = order_agreement(found[a].to_numpy(), found[b].to_numpy(), codes=codes)
            lines.append((kind, group, what, *tau, *found[a].shape))

        for one, other in combinations(FILLS, 2):
            pair = f"{one} / {other}".replace("_", " ")
            compare("fills, original network", pair, (one, ORIGINAL), (other, ORIGINAL))
            compare("fills, in-domain", pair, (one, f"knows_{one}"), (other, f"knows_{other}"))
        for fill in FILLS:
            compare("original / in-domain", fill.replace("_", " "), (fill, ORIGINAL), (fill, f"knows_{fill}"))
    return pd.DataFrame(lines, columns=["metric", "group", "what", "tau", "low", "high", "images", "methods"])


def verdict(table: pd.DataFrame) -> str:
    """The first paragraph: whether the fills agree more in-domain, how far, and whether the network changes the order."""
    means = table.groupby(["metric", "group"])["tau"].mean().unstack("group")
    between, inside = means["fills, original network"], means["fills, in-domain"]
    gained = [kind for kind in KINDS if inside[kind] > between[kind]]
    agreeing = table[(table["group"] == "fills, in-domain") & (table["low"] > 0)]
    pairs, whole = int((table["group"] == "fills, in-domain").sum()), int((agreeing["high"] >= 1).sum())
    moved = table[table["group"] == "original / in-domain"]
    below = int((moved["high"] < 1).sum())
    pair = table.set_index(["metric", "what"])
    before, now = (
        pair.loc[pair["group"] == f"fills, {network}", "tau"] for network in ("original network", "in-domain")
    )
    raised = now > before.reindex(now.index)
    same = now.index[~raised].to_frame(index=False).groupby("what", sort=False)["metric"].agg(", ".join)
    rest = [f"{what} ({metrics})" for what, metrics in same.items()]
    told = [f"{kind} from {between[kind]:.2f} to {inside[kind]:.2f}" for kind in KINDS]
    return (
        f"**On a network that knows removed patches, the fills agree more about the order of methods for {share(len(gained), len(KINDS))} "
        f"metrics{f' ({listed(gained)})' if 0 < len(gained) < len(KINDS) else ''}.** The mean τ between fills moves for {listed(told)}. "
        f"Pair by pair it rises for {share(int(raised.sum()), len(raised))}{f', and not for {listed(rest)}' if rest else ''}. "
        f"In-domain the interval of τ lies above 0 for {share(len(agreeing), pairs)} pairs of fills and reaches 1 for {share(whole, pairs)}: "
        f"{'no effect of the fill is found there' if whole == pairs else 'the choice of the fill still matters'}. "
        f"Between the original and the in-domain network τ is {moved['tau'].min():.2f} to {moved['tau'].max():.2f}; its interval lies above 0 "
        f"for {share(int((moved['low'] > 0).sum()), len(moved))} fills and metrics and below 1 for {share(below, len(moved))}: "
        f"{'the network changes the order, too' if below else 'no change of the order by the network is found'}."
    )


def draw(table: pd.DataFrame, path: Path) -> None:
    """A panel per metric: τ with its interval for each comparison."""
    colours = {
        "fills, original network": "#d55e00", "fills, in-domain": "#0072b2", "original / in-domain": "#555555",
    }  # fmt: skip
    picture, axes = plt.subplots(1, len(KINDS), figsize=(10, 3.6), sharex=True, layout="constrained")
    for panel, kind in zip(axes, KINDS, strict=True):
        part = table[table["metric"] == kind].sort_values(["group", "what"], ascending=False)
        for place, (_, row) in enumerate(part.iterrows()):
            panel.plot([row["low"], row["high"]], [place, place], color=colours[row["group"]], linewidth=2)
            panel.plot(row["tau"], place, "o", color=colours[row["group"]])
        panel.set_yticks(range(len(part)), part["what"] if panel is axes[0] else [""] * len(part))
        panel.axvline(0, color="0.8", zorder=0)
        panel.set_title(f"{kind} (n = {part['images'].iloc[0]})")
        panel.set_xlabel("Kendall's τ")
        panel.set_xticks([-1, -0.5, 0, 0.5, 1], ["−1", "−0.5", "0", "0.5", "1"])
        panel.set_xlim(-1.05, 1.05)
    handles = [Line2D([], [], color=c, marker="o", label=name) for name, c in colours.items()]
    picture.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    path.parent.mkdir(exist_ok=True)
    picture.savefig(path, dpi=150)


def main(folder: Path, note: str = "", page: Path = PAGE) -> None:
    """Write the page and its figure."""
    table = rows(scores(folder))
    (page.parent / "images").mkdir(exist_ok=True)
    draw(table, page.parent / "images" / "indomain.png")
    counts = sorted(set(table["images"]))
    images = "–".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
    lines = ["| metric | compared orders | | τ | 95 % interval |", "|---|---|---|---:|---|"]
    lines += [
        f"| {r.metric} | {r.group} | {r.what} | {r.tau:.2f} | {r.low:.2f} to {r.high:.2f} |"
        for r in table.sort_values(["metric", "group", "what"]).itertuples()
    ]
    head = HEAD.format(
        methods=table["methods"].max(),
        images=images,
        note=f" {note}" if note else "",
        verdict=verdict(table),
        made=made("indomain", folder.parents[1], [folder.name.removeprefix("experiment=")]),
    )
    text = head + "![τ of all comparisons](images/indomain.png)\n\n" + "\n".join(lines) + "\n"
    page.write_text(text + changed("indomain"), encoding="utf-8")


if __name__ == "__main__":
    _, folder, *rest = sys.argv
    main(Path(folder), rest[0] if rest else "", Path(rest[1]) if len(rest) > 1 else PAGE)
