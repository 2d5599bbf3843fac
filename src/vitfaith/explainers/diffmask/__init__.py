"""Vision DiffMask (Nalmpantis et al., CVPR-W 2023): a small network that learns which patches a frozen ViT needs."""
