"""How a classifier is trained, as typed settings (importable without torch)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from vitfaith.registry import Parameters


class ClassifierRecipe(Parameters):
    """How a classifier is trained."""

    train_on: str = Field("", description="dataset with the training images")
    test_on: str = Field("", description="dataset that the accuracy is measured on after each epoch")
    seed: int = Field(0, description="of the initial weights, the order of images and the augmentation")
    epochs: int = Field(30, ge=1, description="passes over the training images")
    batch_size: int = Field(128, ge=1, description="images per step")
    batches: int | None = Field(
        None,
        ge=1,
        description="batches per epoch; each epoch takes other images. Default: an epoch is one pass over all images",
    )
    learning_rate: float = Field(2e-3, gt=0, description="peak of the cosine schedule (AdamW)")
    weight_decay: float = Field(0.05, ge=0, description="weight decay of AdamW")
    label_smoothing: float = Field(
        0.05, ge=0, lt=1, description="share of the target probability that goes to all classes alike"
    )
    shift: int = Field(2, ge=0, description="random translation, in pixels")
    flip: bool = Field(True, description="random horizontal flip")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="moving average of the weights")
    start_from: Path | None = Field(
        None,
        description="weights of the same architecture to fine-tune, in any form that models.weights takes as a file; the head "
        "is new unless keep_head is set, the normalisation comes from the weights; default: training starts from random weights",
    )
    keep_head: bool = Field(
        False,
        description="with start_from: the head comes with the weights, too, which then must be of the same classes",
    )
    trained_blocks: int | None = Field(
        None,
        ge=0,
        description="with start_from: number of last blocks that are trained, beside final norm and head; default: all",
    )
    start_learning_rate: float | None = Field(
        None, gt=0, description="with start_from: peak for all but the head; without it learning_rate"
    )

    @model_validator(mode="after")
    def _fine_tuning(self) -> ClassifierRecipe:
        for key in ("trained_blocks", "start_learning_rate", "keep_head"):
            if self.start_from is None and getattr(self, key) not in (None, False):
                raise ValueError(f"{key} belongs to fine-tuning; name the weights in start_from, or remove it")
        return self
