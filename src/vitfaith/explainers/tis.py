"""TIS: the mean answer when only some tokens enter the network, seen from each token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from vitfaith.errors import InputError
from vitfaith.explainers.passes import masking
from vitfaith.explainers.registry import explainer
from vitfaith.lazy import torch
from vitfaith.registry import Parameters
from vitfaith.rng import generator, permutation
from vitfaith.transfer import upload

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from vitfaith.explainers.passes.context import Context
    from vitfaith.models.classifier import Classifier


class TisParameters(Parameters):
    """Settings of ``tis``."""

    masks: int = Field(1024, ge=1, description="number of k-means centroids, each of which makes one mask")
    keep: float = Field(0.5, gt=0, le=1, description="share of the patch tokens that a mask lets in")
    layers: Literal["all", "last"] = Field("all", description="blocks whose output channels are clustered")
    iterations: int = Field(100, ge=1, description="most k-means iterations")
    score: masking.Score = Field("probability", description="the answer that is explained")


@explainer(
    "tis",
    family="perturbation",
    needs=("hidden",),
    class_specific=True,
    citation="Englebert et al., Explaining through Transformer Input Sampling, ICCV Workshops 2023",
    parameters=TisParameters,
    stochastic=True,
)
def tis(context: Context, parameters: TisParameters) -> Tensor:
    """Mean answer of the network when it sees a subset of the tokens, over the subsets that hold the patch.

    Each channel of the block outputs is a vector over patches; k-means centroids of these vectors rank the patches,
    and the highest ``keep`` share of each centroid forms one subset. The patch tokens outside the subset are dropped
    before the first block (no replacement value); prefix tokens stay. S_j = Σ_k f_k M_kj / Σ_k M_kj. A patch that no
    subset holds gets the mean of all f_k, where the authors' code divides by zero.

    At most as many centroids as channels can exist. k-means starts from channels drawn per image. Unlike the authors'
    code, maps are not rescaled to [0, 1].

    Cost per image: the pass for the activations (shared) + ``masks`` forwards of ``keep`` of the sequence length; no
    backward.

    Returns:
        (B, rows, columns) float32.

    Raises:
        InputError: the model cannot drop tokens (no blocks over one sequence, or positions inside them: rotary ones,
            biases of relative positions).
    """
    classifier = context.classifier
    first, capture = _first_block(classifier), context.capture
    rows, columns = classifier.grid
    patches, prefix = rows * columns, classifier.prefix_tokens
    states = range(1, capture.depth + 1) if parameters.layers == "all" else [capture.depth]
    kept = []
    for image, image_id in enumerate(context.image_ids):
        # One channel of one block is one point; its coordinates are the patches.
        points = torch.cat([capture.patches(state)[image].T for state in states])
        source = generator(context.seed, image_id, "tis", context.sample)
        centroids = k_means(points, min(parameters.masks, len(points)), parameters.iterations, source)
        # Patches of equal value enter in a random order of the image, not by position.
        drawn = permutation(context.seed, image_id, "tis ties", patches, context.sample)
        ties = upload(torch.from_numpy(drawn), centroids.device)
        order = ties[centroids[:, ties].argsort(dim=1, descending=True, stable=True)]
        kept.append(order[:, : max(1, int(parameters.keep * patches))])

    scores: list[list[Tensor]] = [[] for _ in kept]
    for batch in masking.batches([len(subsets) for subsets in kept], context.batch_size):
        copies = torch.cat([context.images[image].expand(stop - start, -1, -1, -1) for image, start, stop in batch])
        subsets = torch.cat([kept[image][start:stop] for image, start, stop in batch])
        handle = first.register_forward_pre_hook(_sampler(subsets, prefix, patches))
        try:
            logits = masking.forward(classifier, copies)
        finally:
            handle.remove()
        sizes = [stop - start for _, start, stop in batch]
        for (image, _, _), part in zip(batch, logits.split(sizes), strict=True):
            targets = context.targets[image].expand(len(part))
            scores[image].append(masking.target_scores(part, targets, parameters.score))
    maps = []
    for parts, subsets in zip(scores, kept, strict=True):
        masks = torch.zeros(len(subsets), patches, device=subsets.device).scatter_(1, subsets, 1.0)
        maps.append(masking.weighted_coverage(torch.cat(parts), masks).view(rows, columns))
    return torch.stack(maps)


def k_means(points: Tensor, clusters: int, iterations: int, source: Generator) -> Tensor:
    """Centroids (clusters, d) of ``points`` (n, d) by Lloyd's algorithm, Euclidean distance.

    It starts from ``clusters`` different points drawn with ``source`` and stops when no point changes its cluster,
    or after ``iterations``. A cluster that loses all points keeps its centroid; ties go to the lower number.
    """
    start = torch.randperm(len(points), generator=source)[:clusters]
    centroids = points[upload(start, points.device)]
    assigned = None
    for _ in range(iterations):
        nearest = torch.cdist(points, centroids).argmin(1)
        if assigned is not None and torch.equal(nearest, assigned):
            break
        assigned = nearest
        # A product with indicators, not an atomic scatter, so that a GPU gives the same sums each time.
        members = torch.nn.functional.one_hot(assigned, clusters).to(points.dtype)
        sizes = members.sum(0)
        centroids = torch.where(sizes[:, None] > 0, (members.T @ points) / sizes.clamp_min(1)[:, None], centroids)
    return centroids


POSITIONS = (
    "mlp_tokens",
    "linear_tokens",
    "rel_pos",
    "rel_pos_bias",
    "shared_rel_pos",
    "relative_position_bias_table",
    "rel_pos_h",
    "pos_proj",
    "rope",
    "freqs",
)
"""Attributes of backbones, blocks and attentions that know where a token stands, also after others were dropped; and of
Mixers, whose weights are of places."""


def _first_block(classifier: Classifier) -> nn.Module:
    """The first transformer block of a backbone that lets tokens be dropped.

    Raises:
        InputError: no blocks over one sequence, or positions inside the blocks.
    """
    # here and not above: it imports torch
    from vitfaith.explainers.passes.readout import blocks_of

    backbone = classifier.backbone
    blocks = blocks_of(backbone)
    if blocks is None:
        raise InputError(
            f"tis needs a ViT whose tokens can be dropped, and {type(backbone).__name__} has no blocks over one sequence; use rise"
        )
    for module in (backbone, *(part for block in blocks for part in block.modules())):
        known = next((name for name in POSITIONS if getattr(module, name, None) is not None), None)
        if type(module).__name__ == "SpatialGatingUnit":
            known = "proj"
        if known is not None:
            raise InputError(
                f"tis needs a ViT whose tokens can be dropped, and {type(backbone).__name__} keeps their positions inside its "
                f"blocks ({type(module).__name__}.{known}); use rise"
            )
    return blocks[0]


def _sampler(subsets: Tensor, prefix: int, patches: int) -> Any:
    """Hook that keeps the prefix tokens and, in row i, the patch tokens ``subsets[i]``."""

    def sample(_module: Any, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        tokens = arguments[0]
        if tokens.ndim != 3 or tokens.shape[1] != prefix + patches:
            raise InputError(
                f"tis needs {prefix + patches} tokens before the first block, and this model has tokens of shape "
                f"{tuple(tokens.shape[1:])}; use rise"
            )
        index = torch.cat([torch.arange(prefix, device=subsets.device).expand(len(subsets), -1), prefix + subsets], 1)
        return (tokens.gather(1, index[:, :, None].expand(-1, -1, tokens.shape[2])), *arguments[1:])

    return sample
