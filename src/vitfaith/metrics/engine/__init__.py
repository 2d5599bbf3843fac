"""The engine that evaluates the model on perturbed images, once for all metrics."""
