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
        return "".join(f"{text}\n" for cell in cells for text in _texts(cell.get("outputs") or []))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{name} is not a notebook", hint="save it again, or copy the output into a text file"
        ) from error


def _texts(outputs: object) -> Iterator[str]:
    for output in outputs if isinstance(outputs, list) else ():
        if not isinstance(output, dict):
            continue
        for part in (output.get("text"), output.get("traceback")):
            if isinstance(part, list):
                # Lines of a stream end with their own line breaks, entries of a traceback do not.
                yield ("\n" if part is output.get("traceback") else "").join(map(str, part)).rstrip("\n")
            elif isinstance(part, str):
                yield part.rstrip("\n")
