"""ViT-Shapley (Covert et al., ICLR 2023): a small network that learns the Shapley values of a surrogate's answers."""
