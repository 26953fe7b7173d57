"""The command line: collects the verbs, and turns errors into one clear line and an exit code.

Exit codes: 0 fine; 1 findings of level error; 2 unusable input or could not judge; 130 interrupted, state saved.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Annotated, Any, NoReturn

import typer

from snellen import __version__
from snellen.errors import MissingExtraError, SnellenError

__all__ = ["app", "main"]

VERBS = (
    "demo",
    "check",
    "train",
    "resume",
    "evaluate",
    "predict",
    "embed",
    "explain",
    "watch",
    "lint",
    "doctor",
    "trace",
    "estimate",
    "weights",
    "sync",
    "rules",
    "data",
    "forgery",
    "fewshot",
)
"""One module of `snellen.cli` each, in the order of `snellen --help`; each holds `register(app)`."""

EXTRAS = {
    **dict.fromkeys(
        (
            "PIL", "cv2", "lightning_fabric", "matplotlib", "numpy", "psutil", "pyarrow", "safetensors", "scipy",
            "tensorboard", "timm", "torch", "torchmetrics", "torchvision",
        ),
        "vision",
    ),
    **dict.fromkeys(("skimage", "sklearn"), "demo"),
    "ray": "ray",
    "wandb": "wandb",
}  # fmt: skip
"""Optional package to the extra that installs it."""


class _Verbs(typer.core.TyperGroup):
    """Loads a verb when it is called: an answer must not wait for all the others."""

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        if cmd_name not in VERBS:
            return None
        one = typer.Typer(rich_markup_mode=None)
        importlib.import_module(f"snellen.cli.{cmd_name}").register(one)
        return typer.main.get_group(one).commands[cmd_name]


app = typer.Typer(
    name="snellen",
    cls=_Verbs,
    help="An eye chart for vision models: runs checked before they cost GPU time, guarded while they run, "
    "explained if they still fail.",
    epilog="Start with:  snellen demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"snellen {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


def _end(error: SnellenError) -> NoReturn:
    from snellen.cli._output import print_json, say

    if _json_is_asked(sys.argv[1:]):
        print_json({"error": error.message, "hint": error.hint, "slug": error.slug, "exit_code": error.exit_code})
    say(f"snellen: {error}", err=True)
    sys.exit(error.exit_code)


def _json_is_asked(arguments: list[str]) -> bool:
    # What follows `watch` belongs to the command that it runs, as does that command's standard output.
    return "--json" in arguments and arguments[0] != "watch"


def main() -> None:
    """Run the command line; the console script `snellen` calls this."""
    try:
        app()
    except SnellenError as error:
        _end(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        _end(MissingExtraError(f"{package} is not installed", hint=f"pip install 'snellen[{EXTRAS[package]}]'"))
    except BrokenPipeError:
        # The reader of our output went away (`snellen rules | head`); pointing stdout elsewhere keeps Python's
        # flush at exit from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
