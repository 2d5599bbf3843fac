"""Which of two features of equal relevance comes first: a random order of each image, never their position."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.rng import permutation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def tie_permutation(seed: int, image_id: str, number: int) -> NDArray[np.int64]:
    """The features 0 … ``number`` − 1 of an image in the order in which equal values are ranked, (number,) int64.

    It depends on the three arguments alone, so that all methods of an image break their ties alike, whatever the batch.
    Attribution methods differ in how many values they repeat; an order by position would give each of them a
    preference for the upper left corner, as strong as its number of ties.
    """
    return permutation(seed, image_id, "ties", number)
