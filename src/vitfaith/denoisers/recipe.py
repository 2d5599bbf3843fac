"""Typed settings of a denoiser's training (importable without torch)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from vitfaith.registry import Parameters


class DenoiserRecipe(Parameters):
    """Shape and training of a denoiser."""

    weight_decay: ClassVar[float] = 0.0
    batches: ClassVar[int | None] = None

    train_on: str = Field("", description="dataset with the training images")
    test_on: str = Field("", description="dataset for the loss after each epoch")
    channels: tuple[int, ...] = Field((16, 32, 64), description="channels of the resolution levels")
    layers_per_block: int = Field(1, ge=1, description="residual layers per resolution level")
    seed: int = Field(0, description="seed of the initial weights, the order of images and the noise")
    epochs: int = Field(4, ge=1, description="passes over the training images")
    batch_size: int = Field(32, ge=1, description="images per step")
    learning_rate: float = Field(1.5e-3, gt=0, description="peak of the cosine schedule (AdamW)")
    crop: int | None = Field(
        None,
        ge=8,
        description="side of random crops to train on: the network is convolutional and takes other sizes; without "
        "it whole images",
    )
    max_timestep: int = Field(500, ge=1, le=1000, description="noise levels are drawn from [0, max_timestep)")
    ema_decay: float = Field(0.999, ge=0, lt=1, description="moving average of the weights")
