"""Classifiers of the Hugging Face hub as timm models with equal logits; the transformers library is not needed.

:mod:`~vitfaith.models.huggingface.folder` reads a folder, :mod:`~vitfaith.models.huggingface.kinds` lists the classes that
are converted, and each family has a module.
"""
