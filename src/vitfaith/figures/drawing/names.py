"""Texts and orders for the names in the tables. Names that are not here still get a readable text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import isfinite

from vitfaith.order import natural

METHODS: dict[str, str] = {
    "random": "Random",
    "raw_attention": "Raw attention",
    "rollout": "Rollout",
    "attention_rollout": "Rollout",
    "grad_attention_rollout": "Gradient rollout",
    "attention_gradcam": "Attention Grad-CAM",
    "transformer_mm": "Transformer-MM",
    "transformer_attribution": "Transformer attribution",
    "partial_lrp": "Partial LRP",
    "lrp": "LRP",
    "lrp_rollout": "LRP rollout",
    "cp_lrp": "CP-LRP",
    "attnlrp": "AttnLRP",
    "libragrad_input_x_gradient": "LibraGrad input × gradient",
    "libragrad_fullgrad_plus": "LibraGrad FullGrad+",
    "attcat": "AttCAT",
    "agcam": "AGCAM",
    "legrad": "LeGrad",
    "tam": "TAM",
    "tokentm": "TokenTM",
    "beyond_intuition_head": "Beyond Intuition (head)",
    "beyond_intuition_token": "Beyond Intuition (token)",
    "saliency": "Saliency",
    "input_x_gradient": "Input × gradient",
    "smoothgrad": "SmoothGrad",
    "integrated_gradients": "Integrated gradients",
    "expected_gradients": "Expected gradients",
    "token_gradcam": "Token Grad-CAM",
    "token_layercam": "Token LayerCAM",
    "token_hirescam": "Token HiResCAM",
    "token_xgradcam": "Token XGradCAM",
    "token_eigencam": "Token EigenCAM",
    "token_finercam": "Token Finer-CAM",
    "token_shapleycam": "Token ShapleyCAM",
    "occlusion": "Occlusion",
    "rise": "RISE",
    "kernel_shap": "KernelSHAP",
    "tis": "TIS",
    "vit_cx": "ViT-CX",
    "diffmask": "DiffMask",
}
"""Known methods in the order of legends."""

OTHERS: dict[str, str] = {
    "vit_shapley": "ViT-Shapley",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "imagenet": "ImageNet",
    "saco": "SaCo",
    "saco_rank": "SaCo (ranks)",
    "aopc": "AOPC",
    "abpc": "ABPC",
    "log_odds": "Log-odds",
    "deletion_auc": "Deletion AUC",
    "insertion_auc": "Insertion AUC",
    "comprehensiveness_saco": "Comprehensiveness (SaCo)",
    "morf_mean": "MoRF mean",
    "lerf_mean": "LeRF mean",
    "kl_auc_morf": "KL AUC (MoRF)",
    "kl_auc_lerf": "KL AUC (LeRF)",
    "accuracy_auc": "Accuracy AUC",
    "irof": "IROF",
    "idsds": "IDSDS",
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
    "adaptive_pgd": "PGD through the smoothing",
    "adaptive_pgd_bpda": "PGD through the smoothing (BPDA)",
    "top_k_attack": "top-k attack",
    "top_k_attack_through_smoothing": "top-k attack through the smoothing",
    "lipschitz": "one entry (Lipschitz)",
    "grouped": "sums of entries (Lipschitz)",
    "renyi": "Rényi, exact",
    "paper_closed_form": "Rényi, closed form",
    "faithfulness": "map and prediction",
    "none": "no smoothing",
    "dds": "DDS",
    "official": "DDS as published",
}
"""Known datasets, metrics, curves, attacks and smoothings."""

ABBREVIATIONS = {
    "ap": "AP",
    "auc": "AUC",
    "auroc": "AUROC",
    "diffmask": "DiffMask",
    "iou": "IoU",
    "kl": "KL",
    "lrp": "LRP",
    "mm": "MM",
    "nll": "NLL",
    "saco": "SaCo",
}
"""Words of other names that are not written in small letters."""

_FIRST = {"clean": 0, "none": 0, "clean_prediction": 0}


def label_of(name: str) -> str:
    """Readable text for a name: the known one, or the name with spaces (names with digits are left as they are)."""
    known = METHODS.get(name) or OTHERS.get(name)
    if known:
        return known
    if re.search(r"\d", name):
        return name
    text = " ".join(ABBREVIATIONS.get(word, word) for word in name.split("_"))
    return text[:1].upper() + text[1:]


def order_methods(methods: Iterable[str], first: Iterable[str] = ()) -> list[str]:
    """Unique ``methods``: those in ``first`` in that order, then known ones, then others by name, numbers in numeric order."""
    wanted = {name: i for i, name in enumerate(first)}
    known = {name: i for i, name in enumerate(METHODS)}
    last = len(known)
    return sorted(set(methods), key=lambda m: (wanted.get(m, len(wanted)), known.get(m, last), natural(m)))


def order_conditions(names: Iterable[str]) -> list[str]:
    """Unique attacks, smoothings or explained classes: ``clean``, ``none`` and ``clean_prediction`` first, then by name with numbers in numeric order."""
    return sorted(set(names), key=lambda n: (_FIRST.get(n, 1), *natural(n)))


def decimal(value: float, digits: int) -> str:
    """``value`` with ``digits`` decimals and a minus sign; no negative zero; ``–`` where it is not finite."""
    return number(value, digits).replace("-", "−")


def number(value: float, digits: int) -> str:
    """:func:`decimal` with a hyphen for the sign, for formats with their own minus sign."""
    if not isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def number_in(variant: str, key: str) -> float | None:
    """The number that follows ``key=`` in a variant such as ``"k=10"``, or None."""
    found = re.search(rf"(?:^|[\s,;]){re.escape(key)}=([0-9]*\.?[0-9]+)", variant)
    return float(found.group(1)) if found else None
