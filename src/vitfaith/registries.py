"""All registries, filled. Importing this module imports neither torch nor timm."""

from __future__ import annotations

from vitfaith.attacks.registry import ATTACKS
from vitfaith.certificates.registry import CERTIFICATES
from vitfaith.datasets.registry import DATASETS
from vitfaith.explainers.registry import EXPLAINERS
from vitfaith.figures.registry import FIGURES
from vitfaith.metrics.registry import METRICS
from vitfaith.registry import Registry
from vitfaith.sanity.registry import SANITY_CHECKS
from vitfaith.smoothings.registry import SMOOTHINGS
from vitfaith.stability.registry import STABILITY_MEASURES

REGISTRIES: dict[str, Registry] = {
    "datasets": DATASETS,
    "attacks": ATTACKS,
    "smoothings": SMOOTHINGS,
    "explainers": EXPLAINERS,
    "metrics": METRICS,
    "stability": STABILITY_MEASURES,
    "sanity": SANITY_CHECKS,
    "certificates": CERTIFICATES,
    "figures": FIGURES,
}
"""Name of the configuration section → its registry."""

DISCRIMINATORS: dict[str, str] = {
    "datasets": "reader",
    "attacks": "attack",
    "smoothings": "smoothing",
    "explainers": "explainer",
    "metrics": "metric",
    "stability": "measure",
    "sanity": "check",
    "certificates": "certificate",
    "figures": "figure",
}
"""Section → the key of an entry that names the registered item; without it the entry's own id is the name."""
