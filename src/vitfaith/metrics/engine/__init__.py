"""The engine that asks the model about perturbed images, once for all metrics."""
