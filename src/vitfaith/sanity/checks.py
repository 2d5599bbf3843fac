"""All sanity checks; importing the module registers them, without importing torch."""

from __future__ import annotations

from pydantic import Field

from vitfaith.lazy import pa
from vitfaith.registry import Parameters
from vitfaith.sanity.measures import MeasureParameters
from vitfaith.sanity.registry import Subject, check


class RandomisationParameters(MeasureParameters):
    """Order of the randomisation, and how often maps are compared."""

    cascading: bool = Field(
        True, description="keep earlier parts random too, as in the paper; otherwise randomise one part at a time"
    )
    stride: int = Field(
        1, ge=1, description="explain after every stride-th part and after the last; the cost falls to 1/stride"
    )


@check(
    "model_randomisation",
    citation="Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018 (MPRT)",
    explanations="parts of the model / stride (a ViT of L blocks has L + 5 parts)",
    parameters=RandomisationParameters,
)
def model_randomisation(subject: Subject, parameters: RandomisationParameters) -> pa.Table:
    """Similarity of each map to the map of a model with random weights, part by part from the head down."""
    from vitfaith.sanity.randomisation import randomised_models

    tables = []
    models = randomised_models(
        subject.classifier, cascading=parameters.cascading, stride=parameters.stride, seed=subject.seed
    )
    for step, part, model in models:
        maps = subject.explain(model, subject.images, subject.targets, subject.image_ids)
        tables += parameters.compare(subject, dict(maps), f"random {part}", step)
    return pa.concat_tables(tables)


@check(
    "random_logit",
    citation="Sixt et al., When Explanations Lie, ICML 2020",
    explanations="1",
    parameters=MeasureParameters,
)
def random_logit(subject: Subject, parameters: MeasureParameters) -> pa.Table:
    """Similarity of each map to the map of another class of the same image, drawn at random per image."""
    from vitfaith.sanity.randomisation import other_classes

    others = other_classes(subject.targets, subject.image_ids, subject.classifier.num_classes, subject.seed)
    maps = subject.explain(subject.classifier, subject.images, others, subject.image_ids)
    return pa.concat_tables(parameters.compare(subject, dict(maps), "other class", 0))


class NoiseParameters(Parameters):
    """The noise on the images."""

    radius: float = Field(0.02, gt=0, le=1, description="bound of the uniform noise, in [0, 1] pixel units")
    samples: int = Field(10, ge=1, description="noisy copies of each image")
    clip: bool = Field(True, description="clip noisy images to [0, 1]; otherwise they leave [0, 1] by up to radius")


@check(
    "sensitivity",
    citation="Yeh et al. 2019 (max), Bhatt et al. 2020 (avg), Alvarez-Melis & Jaakkola 2018 (lipschitz)",
    explanations="samples",
    parameters=NoiseParameters,
)
def sensitivity(subject: Subject, parameters: NoiseParameters) -> pa.Table:
    """Change of each map under small uniform noise on the image: ``max_sensitivity``, ``avg_sensitivity``, ``lipschitz``."""
    from vitfaith.sanity.sensitivity import sensitivity_table

    return sensitivity_table(subject, **parameters.model_dump())
