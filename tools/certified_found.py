"""The first paragraph of docs/certified-findings.md: what was found and what not, in words that follow from the tables."""

from __future__ import annotations

from pathlib import Path

from certified_tables import ADAPTIVE, blind_attacks, by_radius, cells_apart, certified_maps, compared, level
from findings_tables import share, top_patches


def blind_found(folder: Path) -> str:
    """What a blind attack does to predictions, top patches and SaCo, with and without smoothing."""
    found, rows = by_radius(folder, "radius")
    ends = found.sort_values("eps").groupby("smoothing")["mean"].agg(["first", "last"])
    attacked = rows[rows.eps > 0]
    closer, _, cells = cells_apart(top_patches(attacked), "dds", "none")
    nearer, farther, pairs = cells_apart(top_patches(attacked, "undefended"), "dds", "none")
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
        f"closer to the clean map behind the same smoothing in {share(closer, cells)} cells (intervals that do not meet). Of the clean map "
        f"without smoothing they keep more in {share(nearer, pairs)} cells and fewer in {farther}: smoothing itself changes the map. SaCo under attack is higher there in "
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
