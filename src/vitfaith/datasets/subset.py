"""The subset of a dataset that a study uses, and its split into shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.errors import ConfigError
from vitfaith.lazy import np
from vitfaith.rng import derive_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray


def stratified_subset(labels: NDArray[np.int64], count: int | None, seed: int) -> NDArray[np.int64]:
    """Sorted indices of ``count`` images with class shares as equal to the dataset's as whole images allow.

    The choice within a class is a permutation keyed by (seed, class), so a larger ``count`` keeps the images of a
    smaller one (up to one image per class, where the shares are rounded). ``None`` takes all.

    Raises:
        ConfigError: more images are asked for than there are.
    """
    if count is None:
        return np.arange(len(labels))
    if count > len(labels):
        raise ConfigError(f"datasets: 'images' asks for {count}, the dataset has {len(labels)}")
    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * count / len(labels)
    quota = np.floor(exact).astype(int)
    # Largest remainder; ties go to the lower class.
    quota[np.argsort(-(exact - quota), kind="stable")[: count - quota.sum()]] += 1
    picked = []
    for label, amount in zip(classes, quota, strict=True):
        members = np.flatnonzero(labels == label)
        order = np.random.default_rng(derive_seed(seed, f"class-{label}", "subset")).permutation(len(members))
        picked.append(members[order[:amount]])
    return np.sort(np.concatenate(picked))


def shard_count(images: int, shard_size: int) -> int:
    """Number of shards of at most ``shard_size`` images."""
    return -(-images // shard_size)


def shard_name(index: int) -> str:
    """File stem of a shard, ``shard-000`` onwards."""
    return f"shard-{index:03d}"


def shard_number(name: str) -> int:
    """Place of a shard among the shards of its dataset, from its name.

    Example:
        >>> shard_number(shard_name(12))
        12
    """
    return int(name.removeprefix("shard-"))
