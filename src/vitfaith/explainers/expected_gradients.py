"""Expected gradients: integrated gradients averaged over many baselines, one random point on the line from each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.errors import ArtifactError, ConfigError
from vitfaith.explainers.passes import masking
from vitfaith.explainers.passes.path_pass import gradient_passes
from vitfaith.explainers.registry import PixelLevel, explainer
from vitfaith.lazy import np, torch
from vitfaith.rng import normal, uniform
from vitfaith.transfer import upload

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vitfaith.explainers.passes.capture import Need
    from vitfaith.explainers.passes.context import Context


class ExpectedGradientsParameters(PixelLevel):
    """Settings of ``expected_gradients``."""

    samples: int = Field(32, ge=1, description="draws per image, each of a baseline and a point on the line to it")
    background: Path | None = Field(
        None,
        description="NPY file (N, C, H, W) of the baselines, uint8 or float in [0, 1]; without it each is uniform noise",
    )
    noise: float = Field(
        0.0, ge=0, description="standard deviation of noise on the image, in [0, 1] pixel units (captum's GradientShap)"
    )


@explainer(
    "expected_gradients",
    family="path",
    class_specific=True,
    citation="Erion et al., Improving Performance of Deep Learning Models with Axiomatic Attribution Priors, Nature Machine Intelligence 2021; "
    "Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017 (GradientSHAP)",
    parameters=ExpectedGradientsParameters,
    hierarchical=True,
    stochastic=True,
)
def expected_gradients(context: Context, parameters: ExpectedGradientsParameters) -> Tensor:
    """Expected gradients (GradientSHAP): integrated gradients averaged over baselines.

    E_{b, α} (x + ε - b) ⊙ ∇y(b + α(x + ε - b)) for the logit y, with α uniform on [0, 1], b drawn from the
    ``background`` and ε normal with deviation ``noise``; summed over channels and over each patch. Without noise the
    expected map sums to y(x) - E y(b). Draw i is the same whatever ``samples`` is, so that more samples only refine
    the map.

    Cost per image: ``samples`` forwards and backwards.

    Returns:
        (B, rows, columns) float32, signed, in logits.

    Raises:
        ConfigError: the background does not exist.
        ArtifactError: it cannot be read, or its images do not fit the model.
    """
    images = context.images
    background = None
    if parameters.background is not None:
        background = read_background(parameters.background, tuple(images.shape[1:]))
    drawn: list[Tensor] = []

    def build(part: slice, start: int, stop: int) -> Tensor:
        lines = [_line(context, parameters, part, copy, background) for copy in range(start, stop)]
        baseline, noise, alpha = (upload(torch.stack(values), images.device) for values in zip(*lines, strict=True))
        drawn[:] = [images[part] + noise - baseline]
        return baseline + alpha * drawn[0]

    total = torch.zeros_like(images, dtype=torch.float64)
    needed: frozenset[Need] = frozenset({"input_gradient"})
    for part, start, stop, _, capture in gradient_passes(context, parameters.samples, build, needed):
        gradient = capture.input_gradient.unflatten(0, (stop - start, -1))
        total[part] += (drawn[0] * gradient).double().sum(0)
    pixels = (total / parameters.samples).float().sum(1)
    return masking.at_resolution(pixels, context.classifier.patches, parameters.resolution, pool="sum")


class _Line(NamedTuple):
    """One draw for each of B images, on the CPU: (B, C, H, W), its like or (B, 1, 1, 1), (B, 1, 1, 1)."""

    baseline: Tensor
    noise: Tensor
    alpha: Tensor


def _line(
    context: Context,
    parameters: ExpectedGradientsParameters,
    part: slice,
    copy: int,
    background: NDArray[np.generic] | None,
) -> _Line:
    ids, shape = context.image_ids[part], tuple(context.images.shape[1:])

    def key(what: str) -> str:
        return f"expected_gradients-{what}-{copy}"

    alpha = uniform(context.seed, ids, key("alpha"), (1, 1, 1), context.sample)
    if background is None:
        baseline = uniform(context.seed, ids, key("baseline"), shape, context.sample)
    else:
        place = uniform(context.seed, ids, key("baseline"), (), context.sample)
        rows = (place.double() * len(background)).long().clamp_max(len(background) - 1)
        baseline = _as_images(background[rows.numpy()], parameters.background)
    noise = torch.zeros(len(ids), 1, 1, 1)
    if parameters.noise:
        noise = parameters.noise * normal(context.seed, ids, key("noise"), shape, context.sample)
    return _Line(baseline, noise, alpha)


def read_background(path: Path, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """The images (N, *``shape``) of an NPY file, left on disk until they are asked for.

    Raises:
        ConfigError: there is no such file.
        ArtifactError: it is no NPY file of images of this shape.
    """
    if not path.is_file():
        raise ConfigError(f"expected_gradients: background '{path}' does not exist; give an .npy file of images")
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArtifactError(
            f"expected_gradients: background '{path}' cannot be read: {error}; write it with numpy.save"
        ) from error
    described = f"{found.dtype} of shape {found.shape}" if isinstance(found, np.ndarray) else "an archive"
    if not isinstance(found, np.ndarray) or found.ndim != 4 or found.shape[1:] != shape or not len(found):
        raise ArtifactError(
            f"expected_gradients: background '{path}' is {described}; give images (N, {', '.join(map(str, shape))})"
        )
    if found.dtype != np.uint8 and found.dtype.kind != "f":
        raise ArtifactError(f"expected_gradients: background '{path}' is {described}; give uint8, or floats in [0, 1]")
    return found


def _as_images(values: NDArray[np.generic], path: Path | None) -> Tensor:
    """Stored images as float32 in [0, 1]."""
    images = torch.from_numpy(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("=")))
    images = unit_pixels(images) if images.dtype == torch.uint8 else images.float()
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise ArtifactError(
            f"expected_gradients: background '{path}' has values outside [0, 1] or NaN; scale them to [0, 1]"
        )
    return images
