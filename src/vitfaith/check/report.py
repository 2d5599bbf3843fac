"""Findings of a check: problems, each with its key and a way out, and notes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from vitfaith.errors import VitfaithError
from vitfaith.plugins import plugin_fault


@dataclass
class Report:
    """Collects findings, so one call of the command reports every fault.

    Attributes:
        problems: one sentence each, the key first.
        notes: what a run will do, and what may surprise.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def problem(self, key: str, text: str) -> None:
        """Note a problem once; a text that names the key or its section already does not get it twice."""
        text = text.removeprefix(f"{key.split('.')[0]}: ")
        line = text if text.startswith(key) else f"{key}: {text}"
        if line not in self.problems:
            self.problems.append(line)

    @contextmanager
    def about(self, key: str) -> Iterator[None]:
        """Errors raised in the block become problems of ``key``; the block ends there, the check goes on.

        Foreign exceptions (a reader or explainer of a plugin that fails) count as well, with their type and the plugin's line.
        """
        try:
            yield
        except VitfaithError as error:
            self.problem(key, str(error))
        except Exception as error:
            told = plugin_fault(error)
            self.problem(key, told or f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
