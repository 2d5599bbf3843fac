"""Explainers: from (classifier, images, targets) to maps on the patch grid."""
