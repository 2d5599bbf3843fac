"""Perturbation explainers as the papers write them: one image, one mask, one pixel or one coalition at a time."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from sklearn.cluster import AgglomerativeClustering
from torch import Tensor

from vitfaith.models.classifier import Classifier
from vitfaith.rng import generator


def probability(classifier: Classifier, image: Tensor, target: int) -> float:
    with torch.no_grad():
        return float(classifier(image[None]).softmax(-1)[0, target])


def soft_mask(cells: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """Pixel by pixel: the four cells around it, weighted; cell −1 is cell 1 and cell s is cell s − 2 (Petsiuk, §3.2)."""
    side = len(cells)

    def mirrored(cell: int) -> int:
        return 0 if side == 1 else -cell if cell < 0 else 2 * (side - 1) - cell if cell >= side else cell

    def around(pixel: int, length: int) -> list[tuple[int, float]]:
        place = (pixel + 0.5) * side / ((side + 1) * math.ceil(length / side)) - 0.5
        first = math.floor(place)
        return [(mirrored(first), 1 - (place - first)), (mirrored(first + 1), place - first)]

    mask = torch.zeros(height, width, dtype=torch.float64)
    for row, column in itertools.product(range(height), range(width)):
        for (i, down), (j, across) in itertools.product(around(top + row, height), around(left + column, width)):
            mask[row, column] += down * across * float(cells[i, j])
    return mask.float()


def occlusion(classifier: Classifier, image: Tensor, target: int) -> Tensor:
    """Fall of the probability when one patch takes the mean colour of the image (Zeiler & Fergus, §4.1)."""
    rows, columns = classifier.grid
    height, width = image.shape[1] // rows, image.shape[2] // columns
    drops = torch.zeros(rows, columns, dtype=torch.float64)
    for row, column in itertools.product(range(rows), range(columns)):
        hidden = image.clone()
        for channel in range(len(image)):
            area = (channel, slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width))
            hidden[area] = image[channel].mean()
        drops[row, column] = probability(classifier, image, target) - probability(classifier, hidden, target)
    return drops


def rise(classifier: Classifier, image: Tensor, target: int, key: tuple[int, str], **how: Any) -> Tensor:
    """Patches: answers to softly masked images, weighted by the masks (Petsiuk, eq. 6), pixel by pixel."""
    height, width = image.shape[1:]
    masks, side, keep = how["masks"], how["cells"], how["keep"]
    source = generator(*key, "rise", 0)
    cells = (torch.rand(masks, side, side, generator=source) < keep).float()
    reach = torch.tensor([math.ceil(height / side), math.ceil(width / side)])
    shifts = (torch.rand(masks, 2, generator=source) * reach).long()
    total, cover = torch.zeros(2, height, width, dtype=torch.float64)
    for k in range(masks):
        mask = soft_mask(cells[k], int(shifts[k, 0]), int(shifts[k, 1]), height, width)
        total += probability(classifier, image * mask, target) * mask.double()
        cover += mask.double()
    patch_total, patch_cover = mean_in_patches(total, classifier.grid), mean_in_patches(cover, classifier.grid)
    return patch_total / (masks * keep) if how["normalisation"] == "expected" else patch_total / patch_cover


def mean_in_patches(field: Tensor, grid: tuple[int, int]) -> Tensor:
    rows, columns = grid
    return field.reshape(rows, field.shape[0] // rows, columns, field.shape[1] // columns).mean((1, 3))


def kernel_shap(classifier: Classifier, image: Tensor, target: int) -> Tensor:
    """Shapley values of the patches from all coalitions; hidden patches take the image's mean."""
    rows, columns = classifier.grid
    height, width = image.shape[1] // rows, image.shape[2] // columns
    values = {}
    for size in range(rows * columns + 1):
        for chosen in itertools.combinations(range(rows * columns), size):
            shown = torch.full_like(image, float(image.mean()))
            for patch in chosen:
                row, column = divmod(patch, columns)
                area = (
                    slice(None),
                    slice(height * row, height * (row + 1)),
                    slice(width * column, width * (column + 1)),
                )
                shown[area] = image[area]
            values[frozenset(chosen)] = probability(classifier, shown, target)
    return torch.tensor(shapley(values, rows * columns), dtype=torch.float64).view(rows, columns)


def shapley(values: dict[frozenset[int], float], players: int) -> list[float]:
    """Σ_S |S|! (P - |S| - 1)! / P! (f(S ∪ i) - f(S)), the definition."""
    result = []
    for player in range(players):
        others = [p for p in range(players) if p != player]
        total = 0.0
        for size in range(players):
            weight = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
            for chosen in itertools.combinations(others, size):
                total += weight * (values[frozenset(chosen) | {player}] - values[frozenset(chosen)])
        result.append(total)
    return result


def merged_masks(channels: Tensor, size: tuple[int, int], distance: float) -> Tensor:
    """Xie et al.: enlarge, min-max, merge what is nearer than ``distance``, min-max again; pixels throughout."""

    def normalised(masks: Tensor) -> Tensor:
        return torch.stack([(m - m.min()) / (m.max() - m.min()) for m in masks])

    masks = normalised(
        torch.nn.functional.interpolate(channels[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    )
    flat = masks.flatten(1).double()
    cosine = torch.nn.functional.cosine_similarity(flat[:, None], flat[None], dim=-1)
    labels = AgglomerativeClustering(
        n_clusters=None, distance_threshold=distance, metric="precomputed", linkage="complete"
    ).fit_predict((1 - cosine).clamp_min(0).numpy())
    order = dict.fromkeys(labels.tolist())  # clusters by their first member
    return normalised(torch.stack([masks[labels == label].sum(0) for label in order]))


def tokens_dropped(classifier: Classifier, image: Tensor, kept: Tensor, target: int) -> float:
    """The backbone's own parts, called one after the other on the kept tokens."""
    backbone: Any = classifier.backbone
    with torch.no_grad():
        tokens = backbone._pos_embed(backbone.patch_embed((image - classifier.mean) / classifier.std))
        prefix = backbone.num_prefix_tokens
        chosen = torch.cat([tokens[:, :prefix], tokens[:, prefix:][:, kept]], 1)
        features = backbone.norm(backbone.blocks(backbone.norm_pre(chosen)))
        return float(backbone.forward_head(features).softmax(-1)[0, target])


def vit_cx(classifier: Classifier, image: Tensor, target: int, key: tuple[int, str], **how: float) -> Tensor:
    """Xie et al.: c(M) = f(x⊙M + Z⊙(1-M)) - f(x + Z⊙(1-M)) + f(x), on normalised pixels as in the authors' code."""
    size = (image.shape[1], image.shape[2])
    rows, columns = classifier.grid
    normalised = (image - classifier.mean[0]) / classifier.std[0]

    def answer(pixels: Tensor) -> float:
        with torch.no_grad():
            return float(classifier.backbone(pixels[None]).softmax(-1)[0, target])

    seen: list[Tensor] = []
    blocks: Any = classifier.backbone.blocks
    handle = blocks[-1].norm1.register_forward_hook(lambda _m, _i, output: seen.append(output))
    whole = answer(normalised)
    handle.remove()
    tokens = seen[0][0, classifier.prefix_tokens :]
    total, cover = torch.zeros(2, *size)
    for k, mask in enumerate(merged_masks(tokens.T.reshape(-1, rows, columns), size, how["distance"])):
        noise = how["noise"] * torch.randn(image.shape, generator=generator(*key, f"vit_cx-{k}"))
        hidden = noise * (1 - mask)
        total += (answer(normalised * mask + hidden) - answer(normalised + hidden) + whole) * mask
        cover += mask
    return mean_in_patches(total / cover, classifier.grid)


def tis(classifier: Classifier, image: Tensor, target: int, centroids: Tensor, count: int) -> Tensor:
    """Patches: mean answer over the centroids (k, P) whose ``count`` highest patches hold the patch."""
    rows, columns = classifier.grid
    total, cover = torch.zeros(2, rows * columns)
    scores = []
    for centroid in centroids:
        kept = centroid.topk(count).indices
        scores.append(tokens_dropped(classifier, image, kept, target))
        total[kept] += scores[-1]
        cover[kept] += 1
    found = torch.where(cover > 0, total / cover.clamp_min(1), torch.tensor(scores).mean())
    return found.view(rows, columns)


def channels_of(classifier: Classifier, image: Tensor, *, last: bool = False) -> Tensor:
    """Every output channel of the blocks (or of the last one) as a vector over patches, (channels, P)."""
    outputs: list[Tensor] = []
    blocks: Any = classifier.backbone.blocks
    handles = [b.register_forward_hook(lambda _m, _i, output: outputs.append(output[0])) for b in blocks]
    with torch.no_grad():
        classifier(image[None])
    for handle in handles:
        handle.remove()
    return torch.cat([output[classifier.prefix_tokens :].T for output in (outputs[-1:] if last else outputs)])
