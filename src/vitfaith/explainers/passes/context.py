"""Input of an explainer: a batch, the classifier, and the passes that explainers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from torch import Tensor

    from vitfaith.explainers.passes.capture import Capture, Need
    from vitfaith.models.classifier import Classifier

Result = TypeVar("Result")


@dataclass
class Context:
    """One batch to explain.

    Attributes:
        classifier: frozen model in evaluation mode.
        images: (B, C, H, W) float32 in [0, 1], on the classifier's device.
        targets: (B,) int64, the class to explain for each image.
        image_ids: B names; with ``seed`` they key every random number.
        seed: the study's seed.
        needs: what :attr:`capture` must keep, the union over the explainers of this batch.
        batch_size: most images that go through the classifier at once, for explainers that build masked copies.
        shared: what :meth:`once` has computed.
        sample: index of the noise sample that ``images`` shows (0 without smoothing); part of random keys.
    """

    classifier: Classifier
    images: Tensor
    targets: Tensor
    image_ids: Sequence[str]
    seed: int = 0
    needs: frozenset[Need] = frozenset()
    batch_size: int = 256
    sample: int = 0
    shared: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def capture(self) -> Capture:
        """The shared forward and backward pass of this batch, run at first use."""
        from vitfaith.explainers.passes.shared_pass import run_capture

        return run_capture(self.classifier, self.images, self.targets, self.needs)

    def parts(self) -> Iterator[Context]:
        """This batch in contexts of fewer images, each with its share of the pass, whose matrices fit into memory.

        For explainers that only read the shared pass: their results do not depend on it.
        """
        for images in self.capture.parts():
            part = replace(
                self,
                images=self.images[images],
                targets=self.targets[images],
                image_ids=self.image_ids[images],
                shared={},
            )
            part.capture = self.capture.of(images)
            yield part

    def on_grid(self, tokens: Tensor) -> Tensor:
        """Values (B, N) of all tokens as maps (B, rows, columns) float32 of the patches."""
        return tokens[:, self.classifier.prefix_tokens :].unflatten(-1, self.classifier.grid).float()

    def once(self, name: str, make: Callable[[], Result]) -> Result:
        """What ``make`` returned for this batch at first use: explainers that read one pass run it once."""
        if name not in self.shared:
            self.shared[name] = make()
        return cast("Result", self.shared[name])
