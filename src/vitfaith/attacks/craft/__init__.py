"""What attacks are made of: keyed randomness, the victim network, losses, storage, and torchattacks classes of our own."""
