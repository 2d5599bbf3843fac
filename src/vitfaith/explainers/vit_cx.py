"""ViT-CX: causal impact of soft masks made from the channels of the last block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from vitfaith.explainers.passes import masking
from vitfaith.explainers.registry import explainer
from vitfaith.lazy import np, torch
from vitfaith.registry import Parameters
from vitfaith.rng import generator

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vitfaith.explainers.passes.context import Context
    from vitfaith.models.patches import Patches


class VitCxParameters(Parameters):
    """Settings of ``vit_cx``."""

    distance: float = Field(0.1, gt=0, description="cosine distance below which masks are merged (complete linkage)")
    noise: float = Field(
        0.1, ge=0, description="standard deviation of the noise on hidden pixels, in units of the normalised input"
    )
    fill: masking.Fill = Field("model_mean", description="replacement of hidden pixels, below the noise")
    score: masking.Score = Field("probability", description="the answer that is explained")


@explainer(
    "vit_cx",
    family="perturbation",
    needs=("hidden",),
    class_specific=True,
    citation="Xie et al., ViT-CX: Causal Explanation of Vision Transformers, IJCAI 2023",
    parameters=VitCxParameters,
    stochastic=True,
)
def vit_cx(context: Context, parameters: VitCxParameters) -> Tensor:
    """Mean causal impact of the masks that show the patch.

    Each channel of the patch tokens that enter the last block's attention (after its first norm) is enlarged to the
    image and min-max normalised: a mask. Masks whose cosine distance is below ``distance`` are merged (their sum,
    normalised again). With noise Z, mask M has the impact
    c(M) = f(x⊙M + Z⊙(1-M)) - f(x + Z⊙(1-M)) + f(x): the middle term removes what the noise alone does. The map is
    Σ_k c(M_k) M_k / Σ_k M_k, which corrects for pixels that many masks show. The authors' code also divides by the
    number of masks, a constant for each image that is left out here. A constant channel makes no mask.

    Cost per image: 1 pass for the activations and f(x) (shared) + 2 forwards for each merged mask; no backward. The
    number of masks depends on the image (at most the width of the model).

    Returns:
        (B, rows, columns) float32: the pixel map averaged over the area of each patch.

    Raises:
        InputError: the model has no blocks with a first norm.
    """
    classifier, images = context.classifier, context.images
    patches = classifier.patches
    (rows, columns), size = patches.grid, patches.size
    fill = masking.fill_values(classifier, images, parameters.fill)
    deviation = parameters.noise * classifier.std[0].to(images.dtype)
    features = context.capture.features
    seeds = [mask_seeds(tokens.T.reshape(-1, rows, columns), patches, parameters.distance) for tokens in features]

    def build(image: int, start: int, stop: int) -> Tensor:
        # Copies 2k and 2k + 1 are the two noisy images of mask k, so that both see the same noise.
        copies = []
        for copy in range(start, stop):
            mask = patches.enlarge(seeds[image][copy // 2][None])
            source = generator(context.seed, context.image_ids[image], f"vit_cx-{copy // 2}", context.sample)
            noise = deviation * torch.randn(images.shape[1:], generator=source).to(images)
            shown = masking.blend(images[image], mask, fill[image])[0] if copy % 2 == 0 else images[image]
            copies.append(shown + (1 - mask) * noise)
        return torch.stack(copies)

    scores = masking.answers(context, [2 * len(found) for found in seeds], build, parameters.score)
    clean = masking.target_scores(masking.clean_logits(context), context.targets, parameters.score)
    maps = []
    for found, values, whole in zip(seeds, scores, clean, strict=True):
        impacts = values[0::2] - values[1::2] + whole
        field = masking.weighted_coverage(impacts, patches.enlarge(found)) if len(found) else whole.float().expand(size)
        maps.append(patches.mean(field[None])[0])
    return torch.stack(maps)


def mask_seeds(channels: Tensor, patches: Patches, distance: float) -> Tensor:
    """Grid fields (k, rows, columns) which, enlarged, are the merged masks of ``channels`` (D, rows, columns).

    Enlarging commutes with scaling, shifting and summing, so masks need no pixels until they are used. Clusters come
    in the order of their first channel; constant channels are left out.
    """
    # Before enlarging, which rounds: min-max would blow a constant channel up to a random mask.
    seeds = channels[channels.amax((1, 2)) > channels.amin((1, 2))]
    if len(seeds) == 0:
        return seeds
    seeds = _normalise(seeds, patches)
    clusters = _cluster(patches.enlarge(seeds), distance)
    member = torch.nn.functional.one_hot(clusters).to(seeds)
    return _normalise(torch.einsum("dk,dij->kij", member, seeds), patches)


def _normalise(seeds: Tensor, patches: Patches) -> Tensor:
    """Scale and shift each field so that its enlarged form fills [0, 1]."""
    large = patches.enlarge(seeds)
    low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
    return (seeds - low) / (high - low)


def _cluster(masks: Tensor, distance: float) -> Tensor:
    """Cluster number (D,) int64 of each mask (D, H, W): complete linkage below ``distance``, cosine distance."""
    if len(masks) == 1:
        return torch.zeros(1, dtype=torch.int64)
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    flat = torch.nn.functional.normalize(masks.flatten(1).double(), dim=1)
    distances = (1 - flat @ flat.T).clamp_min(0).cpu().numpy()
    np.fill_diagonal(distances, 0)
    tree = linkage(squareform(distances, checks=False), method="complete")
    # fcluster joins up to and including its threshold; "below" is the next smaller number.
    labels: NDArray = fcluster(tree, np.nextafter(distance, 0), criterion="distance")
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return torch.from_numpy(rank[inverse])
