"""Parts of attacks: keyed randomness, the victim network, losses, storage, and our own torchattacks classes."""
