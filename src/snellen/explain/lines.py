r"""Free a raw line of what terminals, launchers and log collectors add: colours, overwritten progress, ranks, times.

What a hostile line could do to a terminal goes as well: control characters, and characters that turn the direction of
writing or are not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from snellen.core.log import LogLine
from snellen.explain.packed import unpacked

__all__ = ["WIDTH", "clean", "decoded", "harmless", "lines_of", "split_prefix"]

WIDTH = 4000
"""Characters kept of a line."""
_MOST_PARTS = 500
"""Lines that one raw line may become."""

_COLOUR = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]{0,4000}(?:\x07|\x1b\\|$)|[@-Z\\-_])|\x9b[0-?]*[ -/]*[@-~]"
)
_COLOUR_WITHOUT_ESCAPE = re.compile(
    r"(?:\^\[)?\[(?:0|1|4|7|22|39|3[0-7]|9[0-7]|[01];\d\d(?:;\d+)?|38;[25];[\d;]{1,16})m"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNSEEN = re.compile(
    "[\u00ad\u061c\u115f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e007f\ud800-\udfff]"
)
_SPACES = str.maketrans(
    {"\u00a0": " ", "\u2028": " ", "\u2029": " ", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
)
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&#x27;", "'"), ("&amp;", "&"))
_TELLS = re.compile(r"Traceback \(most|^\s*File \"|\b\w+(?:Error|Exception)\b")

_STREAM = r"""
    (?P<stream>
        \[rank\s?:?\s?\d+\](?::|(?=\s))                     # torchrun, Lightning
      | \[[A-Za-z][\w-]*?\d+\]:(?=\[|\s)                    # torchrun --tee
      | \[\d+(?:,\d+)?\]<std(?:err|out)>:                   # mpirun, horovodrun
      | \((?:\w[\w.:]*\s+pid=\d+[^)]*|raylet|autoscaler[^)]*)\)   # Ray
      | \[pod/[\w.-]+/[\w.-]+\]                             # kubectl logs --prefix
    )"""
_TIME = r"""
    (?:
        \[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?\ ?(?:Z\b|UTC|[+-]\d\d:?\d\d\b)?\]?:?
      | \d\d-\d\d-\d\d\ \d\d:\d\d:\d\d(?:[.,]\d+)?
      | \[?\d\d/\d\d/\d\d(?:\d\d)?,?\ \d\d:\d\d:\d\d(?:[.,]\d+)?\]?
      | \[\d\d/\d\d\ \d\d:\d\d:\d\d(?:\ [\w.]+)?\]:?        # detectron2
      | \[?\d\d:\d\d:\d\d(?:[.,]\d+)?\]?(?=\s)
      | [A-Z][a-z]{2}\ [\d ]\d\ \d\d:\d\d:\d\d\ [\w.-]+\ [\w./-]+(?:\[\d+\])?:   # syslog, journalctl
      | \d+\.\d+s\s+\d+(?=\s)                               # Kaggle
    )"""
_ADDED = re.compile(rf"^\s*(?:{_STREAM}|{_TIME})[ \t]?", re.VERBOSE)
_CONTAINER = re.compile(r"^std(?:err|out) [FP] ")
_ACTIONS = re.compile(r"^##\[(?:error|warning|debug|group|endgroup|command)\]")
_REPEATED = re.compile(r"\s*\[repeated \d+x across (?:cluster|all nodes)\].*$")


def decoded(raw: bytes) -> str:
    """A line of bytes as text: UTF-8, or else what a Windows console writes."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "replace")
        # A long line may have been cut inside a character.
        cut = len(raw) >= WIDTH and "\ufffd" not in text[4:-4]
        return text if cut else raw.decode("cp1252", "replace")


def clean(text: str) -> str:
    r"""One raw line without colours, control characters, rank prefix, time stamp and overwritten progress.

    Example:
        >>> clean("[rank0]: \x1b[31mValueError: bad\x1b[0m")
        'ValueError: bad'
        >>> clean(" 10%|#   |\r 90%|### |")
        ' 90%|### |'
    """
    return " ".join(part for _, part in _parts(text))


def harmless(text: str) -> str:
    r"""Text that can be printed: what steers a terminal, turns the direction of writing or is not seen is left out.

    Example:
        >>> harmless("a\x1b]0;title\x07b \u202egnp.exe")
        'ab gnp.exe'
    """
    if "\x1b" in text or "\x9b" in text:
        text = _COLOUR.sub("", text)
    if not text.isascii():
        text = _UNSEEN.sub("", text)
    return _CONTROL.sub("", text)


def lines_of(number: int, text: str) -> Iterator[LogLine]:
    """The lines that one raw line shows; several where it overwrote none of them."""
    for stream, part in _parts(text):
        packed = unpacked(part)
        if packed is None:
            yield _line(number, part, stream)
        else:
            yield from (_line(number, one, inner or packed.stream or stream) for inner, one in _parts_of(packed.lines))


def _parts_of(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        yield from _parts(line)


def _line(number: int, text: str, stream: str) -> LogLine:
    return LogLine(number, text if len(text) <= WIDTH else f"{text[: WIDTH // 2]} ... {text[-WIDTH // 2 :]}", stream)


def split_prefix(text: str) -> tuple[str, str]:
    """Who printed a line, as it is marked, and the line without marks and times.

    Example:
        >>> split_prefix("2021-03-10T13:22:37.443Z: [1,0]<stderr>:OSError: y")
        ('[1,0]<stderr>', 'OSError: y')
    """
    stream = ""
    # Launchers in launchers: each adds its own. The last space belongs to the mark, those before it to the text.
    for _ in range(6):
        found = _ADDED.match(text)
        if not found or not found.end():
            break
        stream = (found["stream"] or "").rstrip(":") or stream
        text = text[found.end() :]
        text = _ACTIONS.sub("", _CONTAINER.sub("", text))
    if "[repeated " in text:
        text = _REPEATED.sub("", text)
    return stream, text


def _parts(text: str) -> Iterator[tuple[str, str]]:
    for part in _shown(text.rstrip("\r\n")):
        yield split_prefix(_plain(part))


def _shown(text: str) -> list[str]:
    """What a terminal still shows of a line: its last state, and nothing that tells is lost."""
    if "\b\b" in text:
        text = re.sub("\b{2,}", "\r", text)
    if "\r" not in text:
        return [text]
    parts = [part for part in text.split("\r") if part.strip()]
    telling = next((place for place, part in enumerate(parts) if _TELLS.search(part)), len(parts) - 1)
    return parts[max(telling, 0) :][-_MOST_PARTS:] or [""]


def _plain(text: str) -> str:
    """As harmless; what pasting does to quotes and brackets is undone."""
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    if "[" in text and "m" in text:
        text = _COLOUR_WITHOUT_ESCAPE.sub("", text)
    if not text.isascii():
        text = _mended(text).translate(_SPACES)
    if "&" in text:
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
    return harmless(text)


def _mended(text: str) -> str:
    """UTF-8 that was read as Windows-1252 and written again, read rightly."""
    if "\u00e2\u20ac" not in text:
        return text
    try:
        return text.encode("cp1252").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return text
