"""The program."""

from __future__ import annotations

import logging
import sys

import typer

import vitfaith.cli
from vitfaith.cli import compare, inform, stages, study
from vitfaith.errors import FULL, VitfaithError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=vitfaith.cli.__doc__)
app.add_typer(stages.app)
app.add_typer(study.app)
app.add_typer(compare.app)
app.add_typer(inform.app)


def main() -> None:
    """Run the command line; an error made for the user is printed alone, any other with its traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        app()
    except VitfaithError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in FULL:
            raise
        typer.echo(f"error: no space left ({error}); free some and run again, finished files are kept", err=True)
        sys.exit(1)
