"""Training of the networks that the default run ships: small classifiers and a denoiser."""
