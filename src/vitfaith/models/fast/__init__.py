"""Fast paths: each module computes what torch and timm compute, up to rounding, in less time.

They rely on parts of torch and timm that may change without notice. :mod:`vitfaith.models.fast.switch` turns all of them off
(``compute.fast: off``), and ``tests/models/fast/test_signatures.py`` fails where such a part has changed.
"""
