"""The name of the machine's processor, without heavy imports."""

from __future__ import annotations

import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def cpuinfo(path: Path = CPUINFO) -> str:
    """What Linux says about the processors, empty on other systems."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def processor_name(path: Path = CPUINFO) -> str:
    """Name and number of cores, as ``Intel(R) Xeon(R) Processor, 2 cores``."""
    names = re.findall(r"^model name\s*: (.*)$", cpuinfo(path), re.MULTILINE)
    return f"{names[0]}, {len(names)} cores" if names else platform.processor() or platform.machine()
