"""Texts and orders for the names in the tables. Names that are not here still get a readable text."""

from __future__ import annotations

import re
from collections.abc import Iterable

METHODS: dict[str, str] = {
    "random": "Random",
    "raw_attention": "Raw attention",
    "rollout": "Rollout",
    "attention_rollout": "Rollout",
    "gradient_rollout": "Gradient rollout",
    "attention_flow": "Attention flow",
    "attention_gradcam": "Attention Grad-CAM",
    "transformer_mm": "Transformer-MM",
    "transformer_attribution": "Transformer attribution",
    "partial_lrp": "Partial LRP",
    "lrp": "LRP",
    "conservative_lrp": "Conservative LRP",
    "cp_lrp": "CP-LRP",
    "attn_lrp": "AttnLRP",
    "attcat": "AttCAT",
    "agcam": "AGCAM",
    "legrad": "LeGrad",
    "tam": "TAM",
    "bt_head": "BT (head)",
    "bt_token": "BT (token)",
    "saliency": "Saliency",
    "input_x_gradient": "Input × gradient",
    "smoothgrad": "SmoothGrad",
    "smooth_grad": "SmoothGrad",
    "integrated_gradients": "Integrated gradients",
    "gradcam": "Grad-CAM",
    "token_gradcam": "Token Grad-CAM",
    "layercam": "LayerCAM",
    "hirescam": "HiResCAM",
    "xgradcam": "XGradCAM",
    "eigencam": "EigenCAM",
    "occlusion": "Occlusion",
    "rise": "RISE",
    "kernel_shap": "KernelSHAP",
    "diffmask": "DiffMask",
}
"""Known methods in the order of legends."""

OTHERS: dict[str, str] = {
    "saco": "SaCo",
    "aopc": "AOPC",
    "abpc": "ABPC",
    "log_odds": "Log-odds",
    "auc": "AUC",
    "deletion_auc": "Deletion AUC",
    "insertion_auc": "Insertion AUC",
    "irof": "IROF",
    "idsds": "IDSDS",
    "road": "ROAD",
    "top_k_overlap": "top-k overlap",
    "ssim": "SSIM",
    "l1": "L1",
    "l2": "L2",
    "morf": "most relevant first",
    "lerf": "least relevant first",
    "clean": "clean",
    "pgd": "PGD",
    "fgsm": "FGSM",
    "apgd": "APGD",
    "none": "no smoothing",
    "dds": "DDS",
}
"""Known metrics, curves, attacks and smoothings."""

_FIRST = {"clean": 0, "none": 0}


def label_of(name: str) -> str:
    """Readable text for a name: the known one, or the name with spaces (names with digits are left as they are)."""
    known = METHODS.get(name) or OTHERS.get(name)
    if known:
        return known
    if re.search(r"\d", name):
        return name
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def order_methods(methods: Iterable[str], first: Iterable[str] = ()) -> list[str]:
    """Unique ``methods``: those in ``first`` in that order, then known ones, then others by name."""
    wanted = {name: i for i, name in enumerate(first)}
    known = {name: i for i, name in enumerate(METHODS)}
    last = len(known)
    return sorted(set(methods), key=lambda m: (wanted.get(m, len(wanted)), known.get(m, last), m))


def order_conditions(names: Iterable[str]) -> list[str]:
    """Unique attacks or smoothings: ``clean`` and ``none`` first, then by name with numbers in numeric order."""
    return sorted(set(names), key=lambda n: (_FIRST.get(n, 1), *natural(n)))


def natural(text: str) -> tuple[tuple[int, float, str], ...]:
    """Sort key that puts ``k=5`` before ``k=10``."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return tuple((0, float(p), "") if i % 2 else (1, 0.0, p) for i, p in enumerate(parts) if p)


def number_in(variant: str, key: str) -> float | None:
    """The number that follows ``key=`` in a variant such as ``"k=10"``, or None."""
    found = re.search(rf"(?:^|[\s,;]){re.escape(key)}=([0-9]*\.?[0-9]+)", variant)
    return float(found.group(1)) if found else None
