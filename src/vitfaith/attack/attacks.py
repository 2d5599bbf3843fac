"""All attacks; importing this module registers them, without importing torch."""

from __future__ import annotations

import vitfaith.attack.adaptive
import vitfaith.attack.explanation
import vitfaith.attack.prediction  # noqa: F401
