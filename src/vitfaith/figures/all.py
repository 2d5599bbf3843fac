"""Imports every figure module, which registers it."""

from vitfaith.figures import (  # noqa: F401
    gallery,
    perturbation_curves,
    saco_by_condition,
    saco_by_condition_heatmap,
    saco_leaderboard,
    top_k_overlap,
)
