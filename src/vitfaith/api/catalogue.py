"""Names and descriptions of all registered items."""

from __future__ import annotations

from fnmatch import fnmatchcase

from vitfaith.study import describe as text
from vitfaith.study.listing import registry_of


def available(section: str, pattern: str = "*") -> list[str]:
    """Names that are registered in a section, plugins included, in alphabetical order.

    Args:
        section: datasets, attacks, smoothings, explainers, metrics, stability, sanity, certificates, figures or fills.
        pattern: shell pattern, such as ``"*lrp*"``; upper and lower case differ.

    Raises:
        ConfigError: there is no such section.

    Example:
        >>> import vitfaith as vf
        >>> vf.available("explainers", "*lrp")
        ['attnlrp', 'cp_lrp', 'lrp', 'partial_lrp']
    """
    return sorted(name for name in registry_of(section).names if fnmatchcase(name, pattern))


def describe(section: str, name: str) -> str:
    """What ``name`` computes, its source, its settings with their defaults, and an example, as text of 80 columns.

    Args:
        section: see :func:`available`.
        name: a registered name.

    Raises:
        ConfigError: there is no such section or name; the message names the nearest one.

    Example:
        >>> import vitfaith as vf
        >>> print(vf.describe("metrics", "saco").splitlines()[0])
        saco (metrics, higher is better)
    """
    return text.describe(section, name)
