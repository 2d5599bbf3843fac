"""Texts of refusals that several modules raise."""

INSIDE = (
    "explainers of attention and hidden states are not defined for it; choose explainers that read gradients of the input, "
    "such as input_x_gradient, or that perturb it, such as rise"
)
"""Part of a text that refuses the inside of a model."""
