"""Recognise a line on which somebody started a command: a log that goes on with one is over."""

from __future__ import annotations

import re

__all__ = ["is_command", "is_prompt"]

_PROGRAMS = (
    r"(?:(?:[A-Z_]{1,40}=\S{1,200}\s){0,5}"
    r"(?:python[\d.]*|torchrun|accelerate|deepspeed|srun|sbatch|mpirun|bash|sh|pip3?|conda|snellen|yolo)\b|run\b)"
)
_PROMPT = (
    r"(?:\([\w.-]{1,60}\)\s?)?"
    r"(?:[\w.-]{1,60}@[\w.-]{1,60}[:\s]\S{0,200}\s?[$#%]|\$|(?:PS )?[A-Z]:\\[^>\n]{0,200}>)"
)
_COMMAND = re.compile(
    rf"^\s{{0,8}}(?:{_PROMPT}|!|%)\s?{_PROGRAMS}|^In \[\d+\]:|^\+ (?:python|torchrun|accelerate|srun)\b"
)
_ANY_PROMPT = re.compile(rf"^\s{{0,8}}{_PROMPT}(?:\s|$)|^In \[\d+\]:|^>{{3}} ")


def is_command(text: str) -> bool:
    """Whether a program was started here.

    Example:
        >>> is_command("(base) user@box:~/project$ python train.py"), is_command("$ 3.50")
        (True, False)
    """
    return bool(_COMMAND.match(text))


def is_prompt(text: str) -> bool:
    """Whether a shell waited here for a command, given or not."""
    return bool(_ANY_PROMPT.match(text))
