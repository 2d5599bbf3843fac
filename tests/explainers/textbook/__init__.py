"""The explainers as their papers write them, slow and in float64: what the fast ones must equal."""
