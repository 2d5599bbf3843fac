"""How a ViT-Shapley explainer is trained, as typed settings (importable without torch)."""

from __future__ import annotations

from pydantic import Field

from vitfaith.explainers.passes.masking import Fill
from vitfaith.registry import Parameters


class ShapleyRecipe(Parameters):
    """Shape and training of a ViT-Shapley head."""

    train_on: str = Field("", description="dataset with the training images; labels are not used")
    test_on: str = Field("", description="dataset of the held-out images that the log looks at")
    surrogates: dict[str, str] = Field(
        description="model → the model that answers for its masked images: one that was trained on removed patches"
    )
    fill: Fill = Field("image_mean", description="replacement of hidden patches, as in the surrogate's training")
    seed: int = Field(0, description="seed of the initial weights, the order of images and the sets of patches")
    epochs: int = Field(25, ge=1, description="passes over the training images")
    batch_size: int = Field(64, ge=1, description="images per step")
    batches: int | None = Field(
        None,
        ge=1,
        description="batches per epoch; each epoch takes other images. Default: an epoch is one pass over all images",
    )
    sets: int = Field(8, ge=2, multiple_of=2, description="sets of patches per image and step, in pairs of complements")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the cosine schedule (AdamW)")
    weight_decay: float = Field(0.01, ge=0, description="weight decay of AdamW")
    ema_decay: float = Field(0.99, ge=0, lt=1, description="moving average of the weights")
    hidden: int | None = Field(None, ge=1, description="width of the last inner layer; twice the token's without")
    held_out: int = Field(256, ge=1, description="held-out images, the first ones of test_on")
