"""Training of classifiers: recipe, loop, fine-tuning."""
