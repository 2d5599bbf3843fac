"""Facts about the classifier, device and kernels of a job, for the provenance of its results."""

from __future__ import annotations

from typing import Any

from vitfaith.models.classifier import Classifier
from vitfaith.models.fast.linear import kernels


def facts_of_passes(classifier: Classifier, device: str, dtype: str = "float32", **counted: int) -> dict[str, Any]:
    """Normalisation of ``classifier``, device, kernels, ``dtype`` of the passes, and how many there were.

    Args:
        counted: ``forwards`` and, where gradients were taken, ``backwards``.
    """
    ran = {"normalisation": classifier.normalisation, "device": device, "kernels": kernels(device), "dtype": dtype}
    return ran | counted
