"""How a classifier is trained, as typed settings (importable without torch)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from vitfaith.registry import Parameters


class ClassifierRecipe(Parameters):
    """How a classifier is trained."""

    train_on: str = Field("", description="dataset with the training images")
    test_on: str = Field("", description="dataset that the accuracy is measured on after each epoch")
    seed: int = Field(0, description="seed of the initial weights, the order of images and the augmentation")
    epochs: int = Field(30, ge=1, description="passes over the training images")
    batch_size: int = Field(128, ge=1, description="images per step")
    batches: int | None = Field(
        None,
        ge=1,
        description="batches per epoch; each epoch takes other images. Default: an epoch is one pass over all images",
    )
    optimiser: Literal["adamw", "muon"] = Field(
        "adamw",
        description="muon: the weights of all layers but the first and the head are moved by Muon, in equal steps along all directions, "
        "which trains small networks in fewer epochs; the rest by AdamW",
    )
    learning_rate: float = Field(2e-3, gt=0, description="peak of the cosine schedule")
    weight_decay: float = Field(0.05, ge=0, description="weight decay of AdamW")
    label_smoothing: float = Field(
        0.05, ge=0, lt=1, description="share of the target probability that goes to all classes alike"
    )
    shift: int = Field(2, ge=0, description="random translation, in pixels")
    flip: bool = Field(True, description="random horizontal flip")
    erasing: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the images of a step in which a random rectangle, 2 % to 33 % of the area, becomes noise (Random "
        "Erasing, arXiv 1708.04896)",
    )
    patch_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the patches that the network does not see in a step, others for each image and step (PatchDropout, arXiv "
        "2208.07220); a step takes less time. For timm's VisionTransformer",
    )
    whole_epochs: int = Field(
        1, ge=0, description="with patch_dropout: number of last epochs in which the network sees all patches"
    )
    ema_decay: float = Field(0.999, ge=0, lt=1, description="moving average of the weights")
    teacher: str | None = Field(
        None,
        description="id of another model of the study, whose probabilities are learned beside the labels (distillation, arXiv "
        "1503.02531); without it labels alone",
    )
    teacher_share: float = Field(
        0.5, gt=0, le=1, description="with teacher: the teacher's share of the loss; the rest is for the labels"
    )
    temperature: float = Field(
        1.0, gt=0, description="with teacher: both networks' logits are divided by it before they are compared"
    )
    start_from: Path | None = Field(
        None,
        description="weights of the same architecture to fine-tune, in any form that models.weights takes as a file; the head "
        "is new unless keep_head is set, the normalisation comes from the weights; default: training starts from random weights",
    )
    keep_head: bool = Field(
        False,
        description="with start_from: take the head from the weights too; they must then have the same classes",
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

    @model_validator(mode="after")
    def _patch_dropout(self) -> ClassifierRecipe:
        if self.patch_dropout == 0 and self.whole_epochs != type(self).model_fields["whole_epochs"].default:
            raise ValueError(
                "whole_epochs belongs to patch_dropout; set the share of patches in patch_dropout, or remove it"
            )
        return self

    @model_validator(mode="after")
    def _distillation(self) -> ClassifierRecipe:
        for key in ("teacher_share", "temperature"):
            if self.teacher is None and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} belongs to distillation; name a model in teacher, or remove it")
        return self
