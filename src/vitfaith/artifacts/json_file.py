"""Reading JSON files that come with a user's models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vitfaith.errors import ArtifactError


def read_json_object(file: Path, section: str) -> dict[str, Any]:
    """The object in a JSON file; ``section`` of the config begins the messages.

    Raises:
        ArtifactError: the file cannot be read, or holds something else than an object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{section}: '{file}' cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{section}: '{file}' is no JSON object")
    return content
