"""Imports every figure module, which registers it."""

from __future__ import annotations

from vitfaith.figures import (  # noqa: F401
    ablation_gradient_layers,
    accuracy_by_condition,
    accuracy_by_radius,
    beats_random,
    certified_accuracy,
    certified_top_k,
    cost_faithfulness,
    critical_difference,
    diffmask_training,
    gallery,
    metric_agreement,
    metric_by_radius,
    metric_by_smoothing,
    perturbation_curves,
    saco_by_condition,
    saco_by_condition_heatmap,
    saco_by_groups,
    saco_leaderboard,
    saco_pairs,
    top_k_overlap,
)
