"""Recognise one line of a traceback, whoever printed it: Python, IPython, pytest, rich, loguru, faulthandler."""

from __future__ import annotations

import re

from snellen.core.log import Frame

__all__ = ["arrow_code", "code_line", "exception_line", "frame_line", "named_exception"]

_FRAME = re.compile(r'^\s*>?\s*File "(?P<path>[^"]+)", line (?P<line>\d+)(?:,? in (?P<function>.+))?$')
_PLACES = (
    # IPython 8: `File ~/model.py:12, in fail(x)`; pytest: `model.py:12: in fail`
    re.compile(
        r"^(?:File )(?P<path>[^:\"]{1,300}|[A-Za-z]:\\[^:\"]{1,300}):(?P<line>\d+)(?:, in (?P<function>[\w.<>]+).*|)$"
    ),
    re.compile(r"^(?P<path>[~/.\w][^\s:]*\.py|[A-Za-z]:\\\S+\.py):(?P<line>\d+)(?:, in|: in) (?P<function>[\w.<>]+)"),
    re.compile(
        r"^(?:Cell|Input) In ?\[\d+\], (?:line (?P<line>\d+)(?:, in (?P<function>[\w.<>]+))?|in (?P<cell><[^>]+>)"
        r"|in (?P<called>\w+)\()"
    ),
    re.compile(r"^Cell (?P<cell>In ?\[\d+\]), line (?P<line>\d+)"),
    # IPython 5 to 7: `~/model.py in fail(x)`
    re.compile(r"^(?P<path><ipython-input-[^>]+>|[~/.][^\s:]*\.py|[A-Za-z]:\\\S+\.py) in (?P<function>[\w.<>]+)"),
)
_BOXED = re.compile(r"^[│|] (?P<path>[^│|]{1,300}?):(?P<line>\d+) in (?P<function>\S+)\s*[│|]?$")
_BOXED_CELL = re.compile(r"^[│|] in (?P<function>[\w.<>: ]{1,80}):(?P<line>\d+)\s*[│|]?$")
_BOXED_CODE = re.compile(r"^[│|] [❱>] *(?P<line>\d+) [│|]?(?P<code>.*)$")
_ARROW = re.compile(r"^-{1,9}> ?(?P<line>\d+) ?(?P<code>.*)$")
_NO_CODE = re.compile(r"^\s*[~^]+\s*$|^\s*[│└├╰╭|]|^\s*\d+(?: |$)|^\s*\[Previous line repeated|^\s*\.\.\.\s*$")

_NAMED = re.compile(
    r"^(?P<type>(?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Unsupported|Failure|ExceptionGroup"
    r"|Failed|Exceeded|Expired)|error|timeout|Unsupported|StopIteration)(?:\(\w+\))?)(?:: ?(?P<message>.*)|\s*)$"
)
_AFTER_FRAMES = re.compile(r"^(?P<type>(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:\(\w+\))?)(?:: (?P<message>.*)|:?\s*)$")
_LEVEL = re.compile(r"\b(?:ERROR|CRITICAL|FATAL|EXCEPTION)\b")
_LOGGED_AT = re.compile(r"^[\w.]+:[\w<>.]+:\d+ ?-\s*")
_LEVEL_WITHIN = 100


def frame_line(text: str) -> Frame | None:
    """The frame that a line names, without its code."""
    found = _FRAME.match(text)
    if found:
        return Frame(found["path"], int(found["line"]), (found["function"] or "").strip())
    found = _BOXED.match(text)
    if found:
        return Frame(found["path"].strip(), int(found["line"]), found["function"])
    found = _BOXED_CELL.match(text)
    if found:
        return Frame("<cell>", int(found["line"]), found["function"])
    if text[:1] in (" ", ""):
        return None
    for pattern in _PLACES:
        found = pattern.match(text)
        if found:
            parts = found.groupdict()
            function = parts.get("function") or parts.get("called") or parts.get("cell") or "<cell>"
            if function.startswith("In"):
                function = "<cell>"
            return Frame(parts.get("path") or "<cell>", int(parts.get("line") or 0), function)
    return None


def arrow_code(text: str) -> tuple[int, str] | None:
    """Line number and code where an arrow points at the line that failed."""
    found = _ARROW.match(text) or _BOXED_CODE.match(text)
    return (int(found["line"]), found["code"].strip(" \t│|")) if found else None


def code_line(text: str) -> str | None:
    """The code below a frame; `None` for carets, rulers and lines around it."""
    if not text.startswith((" ", "\t")) or _NO_CODE.match(text):
        return None
    return text.strip()


def exception_line(text: str, *, after_frames: bool) -> tuple[str, str] | None:
    """Type and message of an exception.

    Args:
        text: The line.
        after_frames: Whether the frames of a traceback stand right above; then any name may be a type.

    Example:
        >>> exception_line("torch.OutOfMemoryError: CUDA out of memory.", after_frames=False)
        ('torch.OutOfMemoryError', 'CUDA out of memory.')
        >>> exception_line("ERROR:root:ValueError: bad", after_frames=False)
        ('ValueError', 'bad')
    """
    named = named_exception(text)
    if named is None and after_frames and not text.startswith(" "):
        found = _AFTER_FRAMES.match(text)
        named = (found["type"], found["message"] or "") if found else None
    elif named is None:
        level = _LEVEL.search(text[:_LEVEL_WITHIN])
        if level:
            named = named_exception(_LOGGED_AT.sub("", text[level.end() :].lstrip(" ]:-|[").removeprefix("root:")))
    if named is None or (named[0].endswith("Warning") and not after_frames):
        return None
    return named


def named_exception(text: str) -> tuple[str, str] | None:
    """Type and message where the name alone tells that it is an exception."""
    found = _NAMED.match(text)
    return (found["type"], found["message"] or "") if found else None
