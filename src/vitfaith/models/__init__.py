"""The classifier that is explained: any timm model behind one wrapper."""
