"""Which class maps explain: the words of the configuration, the values of the column ``explained``, and how texts name them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vitfaith.errors import ConfigError, InputError
from vitfaith.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

COLUMN = "explained"
"""Name of the column, of the folder and of the wildcard."""

CLEAN_PREDICTION, PREDICTION, LABEL, RUNNER_UP = "clean_prediction", "prediction", "label", "runner_up"

WORDS: dict[str, str] = {
    CLEAN_PREDICTION: "the class predicted for the clean image",
    PREDICTION: "the class predicted for the image given",
    LABEL: "the label",
    RUNNER_UP: "the second most probable class of the clean image",
}
"""Value → what it means, in a sentence."""

_SHORT = {
    CLEAN_PREDICTION: "class of the clean image",
    PREDICTION: "class of the image given",
    LABEL: "label",
    RUNNER_UP: "runner-up class",
}
_CLASS = re.compile(r"class_([0-9]{1,9})")
_INDEX = re.compile("[0-9]{1,9}")


def of_class(index: int) -> str:
    """The value that stands for one class: ``class_3``."""
    return f"class_{index}"


def class_in(value: str) -> int | None:
    """The class that a value such as ``class_3`` stands for, None for a word."""
    found = _CLASS.fullmatch(value)
    return None if found is None else int(found[1])


def as_value(text: str) -> str:
    """The one form of a value that is given as an index or with leading zeros: ``3`` and ``class_03`` are ``class_3``; other text as it is."""
    index = int(text) if _INDEX.fullmatch(text) else class_in(text)
    return text if index is None else of_class(index)


def in_words(value: str) -> str:
    """Meaning of a value, as part of a sentence.

    Raises:
        ConfigError: it is no value of the column.
    """
    if value in WORDS:
        return WORDS[value]
    index = class_in(value)
    if index is None:
        raise ConfigError(f"explained: '{value}' is none of {', '.join(WORDS)}, class_0, class_1 …")
    return f"class {index}"


def in_short(value: str) -> str:
    """The same for titles and legends; other text as it is."""
    index = class_in(value)
    return _SHORT.get(value, value) if index is None else f"class {index}"


def classes(
    explained: str,
    count: int,
    *,
    predicted: Tensor | None = None,
    scores: Tensor | None = None,
    labels: Tensor | None = None,
) -> Tensor:
    """The explained class of each image, (``count``,) int64 where the numbers that decide are; stages and library ask here.

    Args:
        explained: a word of :data:`WORDS`, or ``class_3``.
        predicted: (B,) the predicted class, of the clean image or the image given as ``explained`` says; for ``runner_up``
            the class that the clean image is predicted to have.
        scores: (B, K) logits or probabilities of the clean image, for ``runner_up``.
        labels: (B,) for ``label``.

    Raises:
        InputError: what decides is not given, an image has no label (−1), or ``runner_up`` of fewer than two classes.
    """
    index = class_in(explained)
    if index is not None:
        return torch.full((count,), index, dtype=torch.int64)
    if explained == LABEL:
        if labels is None:
            raise InputError("explained class 'label' needs labels, the class of each image")
        if bool((labels < 0).any()):
            raise InputError("explained class 'label': the dataset has no class for some images; explain another class")
        return labels
    if predicted is None:
        raise InputError(f"explained class '{explained}' needs predictions")
    if explained != RUNNER_UP:
        return predicted
    if scores is None or scores.shape[1] < 2:
        raise InputError("explained class 'runner_up' needs a model with two classes at least, and its answers")
    return scores.scatter(1, predicted[:, None], float("-inf")).argmax(1)
