"""Perturbed images, built when their batch is due; see :class:`vitfaith.metrics.context.Segment`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vitfaith.lazy import np, torch
from vitfaith.metrics.engine.enlarge import maps_to_rank
from vitfaith.transfer import upload

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vitfaith.metrics.context import ScoreContext
    from vitfaith.metrics.engine.ranking import Ranking
    from vitfaith.metrics.fills.registry import Imputer


def remove(images: Tensor, removed: Tensor, index: Tensor, filling: Tensor | Imputer) -> Tensor:
    """Perturbed copies (N, C, H, W) of ``images[index]`` whose pixels ``removed`` (N, H, W) bool are filled."""
    chosen = images[index]
    if not isinstance(filling, torch.Tensor):
        return filling(chosen, removed, index)
    return torch.where(removed[:, None], filling[index] if len(filling) > 1 else filling, chosen)


class CleanSegment:
    """The images themselves."""

    def __init__(self, images: Tensor) -> None:
        """``images`` (B, C, H, W)."""
        self.images = images

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def image_index(self, start: int, stop: int) -> Tensor:
        """Consecutive indices."""
        return torch.arange(start, stop, device=self.images.device)

    def build(self, start: int, stop: int) -> Tensor:
        """A slice of the images."""
        return self.images[start:stop]


class FullSegment(CleanSegment):
    """The images with every pixel removed."""

    def __init__(self, images: Tensor, filling: Tensor | Imputer) -> None:
        """``filling`` as :func:`vitfaith.metrics.fills.registry.prepare_fill` returns it."""
        super().__init__(images)
        self.filling = filling

    def build(self, start: int, stop: int) -> Tensor:
        """Only fill values."""
        index = self.image_index(start, stop)
        everything = torch.ones(stop - start, *self.images.shape[2:], dtype=torch.bool, device=self.images.device)
        return remove(self.images, everything, index, self.filling).expand(-1, *self.images.shape[1:])


class IntervalSegment:
    """Images without the features whose rank lies in an interval, for many maps at once.

    Args:
        context: images and maps.
        ranking: the features.
        filling: as :func:`vitfaith.metrics.fills.registry.prepare_fill` returns it.
        image, method, low, high: (N,) integers, one per job: its map, and the interval ``[low, high)`` of ranks. Keep
            the jobs of a map together: ranks are computed once per run of jobs with the same map.
    """

    def __init__(
        self,
        context: ScoreContext,
        ranking: Ranking,
        filling: Tensor | Imputer,
        image: NDArray[np.int64],
        method: NDArray[np.int64],
        low: NDArray[np.int64],
        high: NDArray[np.int64],
    ) -> None:
        """See the class."""
        self.context, self.ranking, self.filling = context, ranking, filling
        begins = np.ones(len(image), dtype=bool)
        begins[1:] = (image[1:] != image[:-1]) | (method[1:] != method[:-1])
        self._run = np.cumsum(begins) - 1  # per job; a run of jobs shares one map

        def on_device(values: NDArray[np.int64]) -> Tensor:
            return upload(torch.from_numpy(np.ascontiguousarray(values)), context.images.device)

        # Once for all batches, so a GPU never waits for a batch.
        self.image, self.low, self.high = on_device(image), on_device(low)[:, None], on_device(high)[:, None]
        self._place, self._owner, self._method = (
            on_device(self._run),
            on_device(image[begins]),
            on_device(method[begins]),
        )

    def __len__(self) -> int:
        """Number of jobs."""
        return len(self.image)

    def image_index(self, start: int, stop: int) -> Tensor:
        """Image of every job."""
        return self.image[start:stop]

    def build(self, start: int, stop: int) -> Tensor:
        """Ranks of the slice's maps, compared with the interval of each job."""
        part, first = slice(start, stop), int(self._run[start])
        maps = slice(first, int(self._run[stop - 1]) + 1)
        owners = self._owner[maps]
        ranks = self.ranking.ranks(maps_to_rank(self.context, self.ranking, owners, self._method[maps]), owners)
        ranks = ranks[self._place[part] - first]
        index = self.image[part]
        removed = self.ranking.pixels((self.low[part] <= ranks) & (ranks < self.high[part]), index)
        return remove(self.context.images, removed, index, self.filling)


class MaskSegment:
    """Images without the features of explicit masks (random subsets, single features …).

    Args:
        context: images.
        ranking: the features.
        filling: as :func:`vitfaith.metrics.fills.registry.prepare_fill` returns it.
        masks: (N, P) bool on any device, or a function of (start, stop) that makes the slice there; True = removed.
        image: (N,) int64, the image of every mask.
    """

    def __init__(
        self,
        context: ScoreContext,
        ranking: Ranking,
        filling: Tensor | Imputer,
        masks: Tensor | Callable[[int, int], Tensor],
        image: Tensor | Sequence[int],
    ) -> None:
        """See the class."""
        self.context, self.ranking, self.filling = context, ranking, filling
        self.masks = masks if callable(masks) else upload(masks, context.images.device)
        self.image = torch.as_tensor(image, dtype=torch.int64).to(context.images.device)

    def __len__(self) -> int:
        """Number of masks."""
        return len(self.image)

    def image_index(self, start: int, stop: int) -> Tensor:
        """Image index per mask."""
        return self.image[start:stop]

    def build(self, start: int, stop: int) -> Tensor:
        """The images with their masked features filled."""
        index = self.image[start:stop]
        masks = self.masks(start, stop) if callable(self.masks) else self.masks[start:stop]
        removed = self.ranking.pixels(masks.bool(), index)
        return remove(self.context.images, removed, index, self.filling)


class ImageSegment:
    """Images made on the device by a function of (start, stop) (soft masks, noise …).

    Args:
        image: (N,) int64 on the device, index of the original image in the context.
        make: ``(start, stop) -> (stop − start, C, H, W)`` float32 in pixel units.
    """

    def __init__(self, image: Tensor, make: Callable[[int, int], Tensor]) -> None:
        """See the class."""
        self.image, self.make = image, make

    def __len__(self) -> int:
        """Number of images."""
        return len(self.image)

    def image_index(self, start: int, stop: int) -> Tensor:
        """Image of every job."""
        return self.image[start:stop]

    def build(self, start: int, stop: int) -> Tensor:
        """The result of ``make``."""
        return self.make(start, stop)
