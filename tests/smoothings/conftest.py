"""The tiny denoisers of the tests of denoisers, as fixtures here too."""

from tests.denoisers.conftest import dds, denoiser, learned  # noqa: F401
