"""The response bank: the model's answers to masks that no explainer chose, evaluated once a condition."""
