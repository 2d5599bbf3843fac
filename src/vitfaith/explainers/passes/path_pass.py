"""Gradients averaged along the straight line from a baseline to the image, for every explainer that needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.explainers.passes import masking
from vitfaith.lazy import np, torch
from vitfaith.registry import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.capture import Capture, Need
    from vitfaith.explainers.passes.context import Context

Baseline = masking.Fill | Literal["value"]
Rule = Literal["gauss_legendre", "uniform"]


class PathParameters(Parameters):
    """Settings of every explainer that integrates along a line; explainers with equal settings share the passes."""

    steps: int = Field(32, ge=1, description="points on the line from the baseline to the image")
    rule: Rule = Field("gauss_legendre", description="places and weights of the points")
    baseline: Baseline = Field("model_mean", description="where the line starts; a fill, or one grey 'value'")
    value: float = Field(0.5, ge=0, le=1, description="the baseline's grey value where baseline is 'value'")


@dataclass(frozen=True)
class PathAverages:
    """Integrals over α from 0 to 1 at the images b + α(x - b), of gradients of the target's logit.

    Attributes:
        baseline: b, (B, C, 1, 1) float32 in [0, 1].
        input_gradient: ∫∇x dα, (B, C, H, W) float32, per pixel unit.
        attention_gradient: ∫∇A dα of the last block in the rows that the head reads, (B, heads, rows, N) float32;
            None where nobody needed it.
    """

    baseline: Tensor
    input_gradient: Tensor
    attention_gradient: Tensor | None


class BlockPathParameters(PathParameters):
    """Settings of path explainers that also walk through the blocks."""

    start: int = Field(0, ge=0, description="first block that is walked through, counted from 0")


def nodes(rule: Rule, steps: int) -> tuple[list[float], list[float]]:
    """Points α in [0, 1] and weights that sum to 1.

    ``gauss_legendre`` integrates polynomials of degree 2·steps - 1 exactly. ``uniform`` is what the code of TAM and
    Beyond Intuition does: equidistant points, both ends included, equal weights.
    """
    if rule == "uniform":
        return np.linspace(0, 1, steps).tolist() if steps > 1 else [1.0], [1 / steps] * steps
    points, weights = np.polynomial.legendre.leggauss(steps)
    return ((points + 1) / 2).tolist(), (weights / 2).tolist()


def path_pass(context: Context, parameters: PathParameters, *, attention: bool = False) -> PathAverages:
    """The integrals for ``parameters``, computed at first use and kept with the context.

    The store is keyed by the points (rule, steps, baseline). Integrated gradients, TAM and both Beyond Intuition
    methods therefore cost ``steps`` forwards and backwards per image together when their settings are equal, as they
    are by default. Attention gradients are kept where ``attention`` asks for them or where any explainer of the
    batch reads attention (``context.needs``), so that the order of the explainers does not matter.
    """
    attention = attention or "attention" in context.needs
    points = (parameters.rule, parameters.steps, parameters.baseline, parameters.value)
    return context.once(f"path {points} {attention}", lambda: _integrate(context, parameters, attention))


def attention_along_line(context: Context, parameters: BlockPathParameters) -> Tensor:
    """E_h (∫∇A_L dα)⁺ (B, rows, N) in the rows that the head reads, from :func:`path_pass`.

    Raises:
        ConfigError: the model has no block ``parameters.start``.
    """
    depth = context.capture.depth
    if parameters.start >= depth:
        raise ConfigError(
            f"start is {parameters.start}, but the model has blocks 0 to {depth - 1}; give a smaller start"
        )
    gradient = path_pass(context, parameters, attention=True).attention_gradient
    assert gradient is not None
    return gradient.clamp_min(0).mean(1)


def _integrate(context: Context, parameters: PathParameters, attention: bool) -> PathAverages:
    images = context.images
    if parameters.baseline == "value":
        baseline = torch.full_like(images[:, :, :1, :1], parameters.value)
    else:
        baseline = masking.fill_values(context.classifier, images, parameters.baseline)
    points, weights = nodes(parameters.rule, parameters.steps)
    needs: frozenset[Need] = frozenset({"input_gradient", "attention_gradient"} if attention else {"input_gradient"})

    def build(part: slice, start: int, stop: int) -> Tensor:
        alpha = torch.tensor(points[start:stop]).to(images).view(-1, 1, 1, 1, 1)
        return baseline[part] + alpha * (images[part] - baseline[part])

    pixel_sums: dict[int, Tensor] = {}
    attention_sums: dict[int, Tensor] = {}
    for part, start, stop, _, capture in gradient_passes(context, parameters.steps, build, needs):
        weight = torch.tensor(weights[start:stop]).to(images)

        def add(sums: dict[int, Tensor], values: Tensor, at: int = part.start, weight: Tensor = weight) -> None:
            # one point after the other: a product of matrices would round by their number
            for factor, each in zip(weight, values.float().unflatten(0, (len(weight), -1)), strict=True):
                sums[at] = sums[at] + factor * each if at in sums else factor * each

        add(pixel_sums, capture.input_gradient)
        if attention:
            add(attention_sums, capture.attention_gradient(-1, capture.readout))
    return PathAverages(
        baseline,
        torch.cat(list(pixel_sums.values())),
        torch.cat(list(attention_sums.values())) if attention else None,
    )


def gradient_passes(
    context: Context, count: int, build: Callable[[slice, int, int], Tensor], needs: frozenset[Need]
) -> Iterator[tuple[slice, int, int, Tensor, Capture]]:
    """Forward and backward passes over ``count`` copies of each image, at most ``context.batch_size`` at once.

    Args:
        build: ``(part, start, stop)`` → copies start … stop - 1 of the images in ``part``,
            (stop - start, images, C, H, W).
        needs: what each pass keeps.

    Yields:
        ``(part, start, stop, copies, capture)``; the capture's rows are copy by copy, image by image.
    """
    from vitfaith.explainers.passes.shared_pass import run_capture

    limit = context.batch_size
    for first in range(0, len(context.images), limit):
        part = slice(first, min(first + limit, len(context.images)))
        at_once = max(1, limit // (part.stop - part.start))
        for start in range(0, count, at_once):
            stop = min(count, start + at_once)
            copies = build(part, start, stop)
            targets = context.targets[part].repeat(stop - start)
            yield part, start, stop, copies, run_capture(context.classifier, copies.flatten(0, 1), targets, needs)
