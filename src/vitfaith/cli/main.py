"""The program."""

from __future__ import annotations

import logging
import sys
from importlib.metadata import version
from typing import Annotated

import typer

import vitfaith.cli
from vitfaith.cli import compare, inform, reproduce, share, stages, study
from vitfaith.errors import FULL, VitfaithError
from vitfaith.plugins import plugin_fault

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=vitfaith.cli.__doc__)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"vitfaith {version('vitfaith')}")
        raise typer.Exit


@app.callback()
def program(
    _: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the verb."""


for part in (study, inform, compare, reproduce, share, stages):  # the order of --help; rules call the stages
    app.add_typer(part.app)


def log_to_stderr() -> None:
    """Print what the package logs from INFO, and what other packages log from WARNING: fontTools logs each glyph table of a PDF."""
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, stream=sys.stderr)
    logging.getLogger("vitfaith").setLevel(logging.INFO)


def main() -> None:
    """Run the command line. A user error, or one in a plugin, is printed alone; any other error with its traceback."""
    log_to_stderr()
    try:
        app()
    except VitfaithError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            told = f"no space left ({error}); free some space and run again; finished files are kept"
        elif (fault := plugin_fault(error)) is not None:
            told = fault
        else:
            raise
        typer.echo(f"error: {told}", err=True)
        sys.exit(1)
