"""`snellen demo`: the whole story on embedded photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog="Example:  snellen demo --folder /tmp/snellen-demo")(demo)


def demo(
    folder: Annotated[
        Path, typer.Option(help="Folder for everything that is made; it must be empty or missing.")
    ] = Path("snellen-demo"),
) -> None:
    """Watch the whole story, offline, in about two minutes: check, mend, train, kill, resume, predict, explain."""
    from snellen.cli._cores import share_cores

    share_cores()
    from rich.console import Console

    from snellen.demo.story import tell

    tell(folder.absolute(), console=Console())
