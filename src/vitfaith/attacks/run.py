"""Attack a batch of images: deterministic per image, stored as uint8 within the promised bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from vitfaith.artifacts.tensors import unit_pixels
from vitfaith.attacks.craft.storage import Rounding, distances, pixel_lattice, to_lattice
from vitfaith.attacks.registry import Bound, check_bound, smoothing_seen
from vitfaith.errors import ConfigError, InputError
from vitfaith.lazy import np, torch
from vitfaith.models.memory import BatchSize, in_batches
from vitfaith.registry import Item
from vitfaith.transfer import upload

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vitfaith.attacks.smoothed import Defence
    from vitfaith.models.classifier import Classifier
    from vitfaith.models.precision import Precision

_OTHER_ROUNDINGS: tuple[Rounding, ...] = ("nearest", "away")
"""Roundings to try, in order, for an image that loses its success by rounding towards the clean image."""


_TIE = 1e-6
"""Lead of a class, as a share of the largest logit, below which float32 cannot decide the leading class."""


@dataclass(frozen=True)
class AttackResult:
    """Result of :func:`attack_images`.

    Attributes:
        images: (B, C, H, W) uint8, the stored images.
        linf, l2: (B,) float32, distance of the stored image to the clean one, in [0, 1] pixel units.
        prediction: (B,) int64, class that the model without any smoothing predicts for the stored image.
        success: (B,) bool, whether the prediction differs from the target.
    """

    images: NDArray[np.uint8]
    linf: NDArray[np.float32]
    l2: NDArray[np.float32]
    prediction: NDArray[np.int64]
    success: NDArray[np.bool_]


def attack_images(
    classifier: Classifier,
    images: Tensor,
    targets: Tensor,
    image_ids: Sequence[str],
    attack: Item,
    *,
    seed: int,
    batch_size: int = 256,
    defence: Defence | None = None,
    precision: Precision = "float32",
) -> AttackResult:
    """Attack ``images``.

    Works inside ``torch.inference_mode()``; the classifier's mode, weights and gradient flags are as before.

    Args:
        images: (B, C, H, W) float, stored pixels k/255.
        targets: (B,) the classes predicted for the clean images; attacks on the prediction move away from them, attacks
            on the explanation keep them.
        image_ids: B names; with ``seed`` they key every random number.
        batch_size: most images attacked at once; halved when memory runs out; attacks that mix a batch get one image at a time.
        defence: the smoothing that the parameters name in ``through``; None where they name none.
        precision: of the classifier's passes, forwards and backwards, that craft the images. Predictions of stored
            images use the classifier's own precision.

    Raises:
        ConfigError: missing or idle defence, a radius below one grey level (1/255), or
            an l2 radius larger than the image space.
        InputError: images or targets of a wrong shape or range, or an attack that broke its bound.
    """
    from vitfaith.models.classifier import frozen
    from vitfaith.models.fast.linear import quick_linear_layers
    from vitfaith.models.precision import passes_in

    device = next(classifier.parameters()).device
    clean = pixel_lattice(images).to(torch.uint8).cpu()
    if len(clean):
        classifier.check_images(images)
    _check_targets(targets, image_ids, len(clean), classifier.num_classes)
    bound = attack.traits["bound"](attack.parameters)
    check_bound(bound)
    if bound is not None and bound.norm == "l2" and len(clean) and bound.eps > clean[0].numel() ** 0.5:
        raise ConfigError(f"eps = {bound.eps:g} reaches every image; the l2 radius is in [0,1] pixel units")
    limit = BatchSize(batch_size if attack.traits["batched"](attack.parameters) else 1)
    batches = [_Stored.none(clean)]

    def attack_rows(start: int, stop: int) -> _Stored:
        rows = slice(start, stop)
        ids, given = list(image_ids[rows]), upload(clean[rows].clone(), device)
        wanted = upload(targets[rows].clone(), device)
        with passes_in(classifier, precision):
            attacked = _craft(attack, classifier, given, wanted.clone(), ids, seed, defence)
        return _store(attack, classifier, given.long(), attacked, wanted, bound, ids)

    with frozen(classifier), torch.inference_mode(False), quick_linear_layers(classifier):
        batches += [stored for _, stored in in_batches(len(clean), limit, attack_rows)]
    images_, linf, l2, prediction = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return AttackResult(
        images_.numpy(), linf.numpy(), l2.numpy(), prediction.numpy(), (prediction != targets.cpu()).numpy()
    )


class _Stored(NamedTuple):
    """Results of a batch, on the CPU: images (B, C, H, W) uint8, l∞ and l2 distance, prediction."""

    images: Tensor
    linf: Tensor
    l2: Tensor
    prediction: Tensor

    @classmethod
    def none(cls, like: Tensor) -> _Stored:
        """No images of the shape and type of ``like``."""
        nothing = torch.empty(0)
        return cls(like[:0], nothing, nothing, torch.empty(0, dtype=torch.int64))


def _craft(
    attack: Item,
    classifier: Classifier,
    clean: Tensor,
    targets: Tensor,
    image_ids: Sequence[str],
    seed: int,
    defence: Defence | None,
) -> Tensor:
    """Attacked images (B, C, H, W) in [0, 1] of ``clean`` grey levels, on the classifier's device as all that is given."""
    from vitfaith.attacks.craft.keyed import KeyedRandom, forked_random

    extra: dict[str, Any] = {}
    through = smoothing_seen(attack.parameters)
    if through is not None:
        if defence is None:
            raise ConfigError(
                f"attack '{attack.name}' sees through smoothing '{through}'; give attack_images its defence"
            )
        extra["defence"] = defence
    elif defence is not None:
        raise ConfigError(f"attack '{attack.name}' sees no smoothing; set its key 'through', or give no defence")
    pixels = unit_pixels(clean)
    with (
        forked_random(seed, image_ids, "attack", clean.device),
        KeyedRandom(seed, image_ids),
        torch.enable_grad(),
    ):
        return attack.implementation(classifier, pixels, targets, attack.parameters, **extra)


def _store(
    attack: Item,
    classifier: Classifier,
    clean: Tensor,
    attacked: Tensor,
    targets: Tensor,
    bound: Bound | None,
    image_ids: Sequence[str],
) -> _Stored:
    """Integer images and their predictions; all that is given is on the classifier's device, where they are computed.

    An attack that ends just behind the decision boundary may fall back over it, up to the clean image, when it is
    rounded towards that. An image that before it is stored fools the model, or is on the boundary within rounding of the
    logits, is then rounded to the nearest level, and if that does not fool the model away from the clean image, within the
    bound. It is kept so where that fools the model.
    """
    from vitfaith.attacks.craft.victim import Logits

    @torch.no_grad()
    def predict(levels: Tensor) -> Tensor:
        return Logits(classifier)(unit_pixels(levels)).argmax(1)

    @torch.no_grad()
    def reached(pixels: Tensor, classes: Tensor) -> Tensor:
        logits = Logits(classifier)(pixels).double()
        others = logits.scatter(1, classes[:, None], float("-inf")).amax(1)
        return logits.gather(1, classes[:, None])[:, 0] - others <= _TIE * logits.abs().amax(1)

    def finished() -> _Stored:
        return _Stored(kept.to(torch.uint8).cpu(), *distances(clean, kept), prediction.cpu())

    found = attacked.detach()
    kept = to_lattice(clean, found, bound, image_ids, attack.name)
    prediction = predict(kept)
    if attack.traits["aims_at"] != "prediction":
        return finished()
    rounded = (found * 255 - kept).abs().flatten(1).amax(1) > 1e-2
    lost = torch.nonzero((prediction == targets) & rounded).flatten()
    lost = lost[reached(found[lost], targets[lost])] if len(lost) else lost
    for direction in _OTHER_ROUNDINGS:
        if len(lost):
            names = [image_ids[i] for i in lost.tolist()]
            again = to_lattice(clean[lost], found[lost], bound, names, attack.name, direction)
            new = predict(again)
            fooled = new != targets[lost]
            kept[lost[fooled]], prediction[lost[fooled]] = again[fooled], new[fooled]
            lost = lost[~fooled]
    return finished()


def _check_targets(targets: Tensor, image_ids: Sequence[str], count: int, classes: int) -> None:
    if targets.shape != (count,) or len(image_ids) != count:
        raise InputError(
            f"targets of shape {tuple(targets.shape)} and {len(image_ids)} image_ids do not fit {count} images"
        )
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise InputError(f"targets must be class numbers, not {targets.dtype}")
    if count and (int(targets.min()) < 0 or int(targets.max()) >= classes):
        raise InputError(f"targets must lie in 0…{classes - 1}")
