"""How a DiffMask is trained, as typed settings (importable without torch)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vitfaith.registry import Parameters


class DiffMaskRecipe(Parameters):
    """Shape and training of a DiffMask."""

    train_on: str = Field("", description="dataset with the training images; labels are not used")
    test_on: str = Field("", description="dataset of the held-out images that the log and the early stop look at")
    seed: int = Field(0, description="seed of the initial weights, the order of images and the gates' noise")
    epochs: int = Field(1, ge=1, description="passes over the training images")
    steps: int | None = Field(None, ge=1, description="batches after which training ends, however many epochs that are")
    batch_size: int = Field(64, ge=1, description="images per step")
    mode: Literal["dual_ascent", "official"] = Field(
        "dual_ascent",
        description="official: as the released code trains, for comparison: one multiplier per gate that moves the wrong way, a "
        "random number of gates per step, mean log-probability, Lookahead, two steps per batch",
    )
    margin: float = Field(0.1, gt=0, description="m: largest mean KL(clean ‖ masked) that the masks may cost, in nats")
    objective: Literal["expected_l0", "log_probability"] = Field(
        "expected_l0",
        description="minimised objective: the expected share of kept patches, or the released code's mean Σ log P(z > 0)",
    )
    kept_share: float | None = Field(
        0.9,
        gt=0,
        lt=1,
        description="β starts where this share of patches is kept in expectation after all gates; null takes beta",
    )
    beta: float = Field(8.0, description="start of every gate's β where kept_share is null")
    stretch: float = Field(15.0, gt=0, description="α: each gate's location lies in β ± α")
    placeholder: Literal["learned", "mean_colour"] = Field(
        "learned",
        description="replacement of a masked patch embedding: a vector learned beside the gates, or, fixed, the embedding of a patch of the "
        "model's mean colour. Masks then answer the question of a metric with fill image_mean or channel_mean",
    )
    hidden: int | None = Field(
        None, ge=1, description="width of the gates' inner layer; a quarter of the token's without"
    )
    temperature: float = Field(0.2, gt=0, description="temperature of the hard concrete distribution")
    low: float = Field(-0.2, lt=0, description="l of the stretch")
    high: float = Field(1.0, ge=1, description="r of the stretch")
    learning_rate: float = Field(
        1e-3, gt=0, description="learning rate of the gates (Adam; warm-up, then a half cosine)"
    )
    placeholder_learning_rate: float = Field(1e-2, gt=0, description="learning rate of a learned placeholder")
    warmup: int = Field(100, ge=1, description="steps of the warm-up")
    multiplier: float = Field(2.0, ge=0, description="start of λ")
    multiplier_learning_rate: float = Field(0.3, gt=0, description="λ ← λ + this · (KL − m), clipped")
    multiplier_max: float = Field(200.0, gt=0, description="largest value of λ")
    penalty: float = Field(
        0.0,
        ge=0,
        description="ρ of an augmented Lagrangian, ρ/2 · max(0, KL − m)², which pulls back at once where λ is still on its way: for "
        "models where the masks collapse; try 30",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="precision of the frozen model's passes (autocast); gates and losses stay in float32"
    )
    log_every: int = Field(20, ge=1, description="steps of which a row of the log is the mean")
    evaluate_every: int = Field(200, ge=1, description="steps between looks at the held-out images")
    held_out: int = Field(256, ge=1, description="held-out images, the first ones of test_on")
    patience: int = Field(
        0, ge=0, description="looks without a smaller kept share within the margin after which training ends; 0: never"
    )
    checkpoint_every: int = Field(500, ge=1, description="steps between saves, from which a killed training continues")


OFFICIAL: dict[str, Any] = {
    "mode": "official",
    "objective": "log_probability",
    "kept_share": None,
    "beta": 8.0,
    "stretch": 15.0,
    "learning_rate": 2e-5,
    "placeholder_learning_rate": 1e-3,
    "warmup": 1200,
    "margin": 0.1,
    "multiplier": 20.0,
    "multiplier_learning_rate": 0.3,
    "multiplier_max": 200.0,
}
"""Settings of the paper's CIFAR-10 run (batches of 16, 25 epochs)."""
