"""The response bank: the model's responses to masks that do not depend on explainers, evaluated once per condition."""
