"""What the cells of a saved notebook printed, as a log."""

from __future__ import annotations

import json
from collections.abc import Iterator

from snellen.errors import UsageError

__all__ = ["outputs_of"]


def outputs_of(raw: bytes, name: str) -> str:
    r"""Streams and tracebacks of all cells, in order.

    Args:
        raw: The file's bytes.
        name: Its name, for the error.

    Raises:
        UsageError: It is not a notebook.

    Example:
        >>> cell = {"outputs": [{"output_type": "error", "traceback": ["ValueError: bad"]}]}
        >>> outputs_of(json.dumps({"cells": [cell]}).encode(), "a.ipynb")
        'ValueError: bad\n'
    """
    try:
        cells = json.loads(raw)["cells"]
        return "".join(f"{text}\n" for cell in cells for text in _printed(cell))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{name} is not a notebook", hint="save it again, or copy the output into a text file"
        ) from error


def _printed(cell: dict[str, object]) -> Iterator[str]:
    texts = list(_texts(cell.get("outputs")))
    # As IPython prompts: several failures of one notebook are told apart by it.
    if texts and isinstance(cell.get("execution_count"), int):
        yield f"In [{cell['execution_count']}]:"
    yield from texts


def _texts(outputs: object) -> Iterator[str]:
    for output in outputs if isinstance(outputs, list) else ():
        if not isinstance(output, dict):
            continue
        data = output.get("data")
        shown = data.get("text/plain") if isinstance(data, dict) else None
        for part in (output.get("text"), shown, output.get("traceback")):
            if isinstance(part, list):
                # Lines of a stream end with their own line breaks, entries of a traceback do not.
                yield ("\n" if part is output.get("traceback") else "").join(map(str, part)).rstrip("\n")
            elif isinstance(part, str):
                yield part.rstrip("\n")
