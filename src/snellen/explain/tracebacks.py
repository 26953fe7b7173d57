"""Find the tracebacks of a log: Python's own, IPython's, pytest's, and those of loader workers inside others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from snellen.core.log import Frame, LoggedException, LogLine

__all__ = ["find_exceptions"]

_HEADER = re.compile(r"Traceback \(most recent call last\)")
_FRAME = re.compile(r'^\s*>?\s*File "(?P<path>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?$')
_IPYTHON_FRAMES = (
    re.compile(
        r"^(?:File )?(?P<path>[~/.\w][^\s:]*\.py|[A-Za-z]:\\\S+\.py):(?P<line>\d+)(?:, in|: in) "
        r"(?P<function>[\w.<>]+)"
    ),
    re.compile(
        r"^(?:Cell|Input) In ?\[\d+\], (?:line (?P<line>\d+)(?:, in (?P<function>[\w.<>]+))?|in (?P<cell><[^>]+>))"
    ),
    re.compile(r"^(?P<path><ipython-input-[^>]+>|[~/.]\S*\.py) in (?P<function>[\w.<>]+)"),
)
_ARROW = re.compile(r"^-{2,}> ?(?P<line>\d+) ?(?P<code>.*)$")
_CARETS = re.compile(r"^\s*[~^]+\s*$")
_NAMED = re.compile(
    r"^(?P<type>(?:[A-Za-z_]\w*\.)*(?:[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Unsupported|Failure|ExceptionGroup)"
    r"|error|timeout|Unsupported))(?:: ?(?P<message>.*)|\s*)$"
)
_AFTER_FRAMES = re.compile(r"^(?P<type>(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?:: (?P<message>.*)|:?\s*)$")
_CHAIN = re.compile(r"^(?:During handling of the above exception|The above exception was the direct cause)")
_PYTEST = re.compile(r"^E   ? ?")
_GROUP = re.compile(r"^\s*(?:\| ?|\+ (?=Exception Group Traceback)|\+-[+-]*[- \d.]*$)")
_WRAPPER = re.compile(
    r"\bCaught \w+ in |unhandled errors in|sub-exceptions?\)|ChildFailedError|ProcessRaisedException"
    r"|returned non-zero exit"
)
_LONGEST_MESSAGE = 40
_MOST_EXCEPTIONS = 200


def find_exceptions(lines: Sequence[LogLine]) -> tuple[LoggedException, ...]:
    """All exceptions that the lines show, the root cause of a chain first.

    Python prints the cause before what followed from it. An exception that only carries another one (a loader
    worker's, a group, a launcher's) is put behind it.
    """
    parser = _Parser()
    previous = 0
    for line in lines:
        if line.number > previous + 1:
            parser.gap()
        parser.feed(line.number, line.text)
        previous = line.number
    found = parser.finish()
    return tuple(sorted(found, key=lambda error: bool(_WRAPPER.search(error.text))))


@dataclass(slots=True)
class _Open:
    """An exception whose message may go on."""

    type: str
    line: int
    message: list[str]
    frames: tuple[Frame, ...]


@dataclass(slots=True)
class _Parser:
    found: list[LoggedException] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    open: _Open | None = None
    in_frames: bool = False
    seen: set[tuple[str, str]] = field(default_factory=set)

    def gap(self) -> None:
        self._close()
        self.frames.clear()
        self.in_frames = False

    def feed(self, number: int, text: str) -> None:
        text = _PYTEST.sub("", _GROUP.sub("", text, count=1), count=1)
        if _HEADER.search(text) or _CHAIN.match(text):
            self.gap()
            self.in_frames = bool(_HEADER.search(text))
        elif frame := _frame(text):
            self._close()
            self.frames.append(frame)
            self.in_frames = True
        elif self._exception(number, text):
            pass
        elif self.open is not None:
            self._continue(text)
        elif self.in_frames:
            self._code(text)

    def finish(self) -> list[LoggedException]:
        self._close()
        return self.found

    def _exception(self, number: int, text: str) -> bool:
        named = _NAMED.match(text)
        if named is None and self.frames and self.in_frames and self.open is None and not text.startswith(" "):
            named = _AFTER_FRAMES.match(text)
        if named is None or named["type"].endswith("Warning"):
            return False
        self._close()
        self.open = _Open(named["type"], number, [named["message"] or ""], tuple(self.frames))
        self.frames.clear()
        self.in_frames = False
        return True

    def _continue(self, text: str) -> None:
        if self.open is None:
            return
        if not text.strip() or len(self.open.message) >= _LONGEST_MESSAGE:
            self._close()
        else:
            self.open.message.append(text.rstrip())

    def _code(self, text: str) -> None:
        arrow = _ARROW.match(text)
        if not self.frames or _CARETS.match(text):
            return
        last = self.frames[-1]
        if arrow:
            self.frames[-1] = Frame(last.path, int(arrow["line"]), last.function, arrow["code"].strip())
        elif not last.code and text.startswith((" ", "\t")) and not re.match(r"^\s*\d+(?: |$)", text):
            self.frames[-1] = Frame(last.path, last.line, last.function, text.strip())

    def _close(self) -> None:
        if self.open is None:
            return
        error = LoggedException(self.open.type, "\n".join(self.open.message).strip(), self.open.frames, self.open.line)
        self.open = None
        key = (error.type, error.message)
        # Every rank of a distributed run prints the same exception; the copy with frames is the one to keep.
        if key not in self.seen and len(self.found) < _MOST_EXCEPTIONS:
            self.seen.add(key)
            self.found.append(error)
        elif error.frames:
            self.found = [error if (old.type, old.message) == key and not old.frames else old for old in self.found]


def _frame(text: str) -> Frame | None:
    found = _FRAME.match(text)
    if found:
        return Frame(found["path"], int(found["line"]), (found["function"] or "").strip())
    for pattern in _IPYTHON_FRAMES:
        found = pattern.match(text)
        if found:
            parts = found.groupdict()
            function = parts.get("function") or parts.get("cell") or "<cell>"
            return Frame(parts.get("path") or "<cell>", int(parts.get("line") or 0), function)
    return None
