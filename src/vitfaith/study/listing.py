"""What exists, told from the registries."""

from __future__ import annotations

from typing import Any

from vitfaith.registries import DISCRIMINATORS, REGISTRIES


def listing(section: str) -> list[dict[str, Any]]:
    """One row an entry: name, summary, citation, traits, parameters with their defaults."""
    rows = []
    for entry in REGISTRIES[section]:
        fields = entry.parameters.model_fields
        defaults = {
            k: "required" if f.is_required() else f.get_default(call_default_factory=True) for k, f in fields.items()
        }
        traits = {k: sorted(v) if isinstance(v, frozenset | set) else v for k, v in entry.traits.items()}
        traits = {k: v for k, v in traits.items() if isinstance(v, str | int | float | bool | list | tuple | None)}
        rows.append(
            {
                DISCRIMINATORS[section]: entry.name,
                "summary": entry.summary,
                "citation": entry.citation,
                **traits,
                "parameters": {
                    k: v if isinstance(v, str | int | float | bool | None) else str(v) for k, v in defaults.items()
                },
            }
        )
    return rows


def print_listing(section: str, rows: list[dict[str, Any]]) -> None:
    """Print ``rows`` as a table on the terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=section, show_lines=False)
    key = DISCRIMINATORS[section]
    extra = [k for k in ("family", "direction", "category") if any(k in row for row in rows)]
    for column in (key, *extra, "summary", "citation", "parameters"):
        table.add_column(column, overflow="fold")
    for row in rows:
        parameters = ", ".join(f"{k}={v}" for k, v in row["parameters"].items())
        table.add_row(row[key], *(str(row.get(k, "")) for k in extra), row["summary"], row["citation"], parameters)
    Console().print(table)
