"""Find the exceptions of a log, each with its frames, and say which of them the others follow from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from snellen.core.log import Frame, LoggedException, LogLine
from snellen.explain.commands import is_prompt
from snellen.explain.frames import arrow_code, code_line, exception_line, frame_line

__all__ = ["find_exceptions"]

_HEADER = "raceback (most recent call last)"
_OUTER = re.compile(r"^(?P<type>(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception))(?P<colon>:)?\s+$")
_CHAIN = re.compile(r"^(?:During handling of the above exception|The above exception was the direct cause)")
_PYTEST = re.compile(r"^E   ? ?")
_GROUP = re.compile(r"^\s*(?:\| ?|\+ (?=Exception Group Traceback)|\+-[+\- \d.]*$)")
_BOXED_PATH = re.compile(r"^[│|] (?:[/~]|[A-Z]:\\)")
_USER_CODE = re.compile(r"^from user code:|^The following (?:model code|source code) ")
_FATAL = re.compile(r"^(?P<type>Fatal Python error): (?P<message>.*)$")
_CALLED_FIRST = re.compile(r"\(most recent call first\):?\s*$")
_TERMINATE = re.compile(r"^terminate called after throwing an instance of '(?P<type>[^']+)'")
_WHAT = re.compile(r"^\s*what\(\): *(?P<message>.*)$")
_NATIVE = re.compile(r"^\s*frame #\d+: |^\s*#\d+ +0x|^Exception raised from ")

_LEAD = re.compile(
    r"^Exception ignored in|^Error in atexit|^Error in sys\.excepthook|^Exception ignored on calling"
    r"|^--- Logging error ---"
)
_LAUNCHER = re.compile(
    r"\bCaught \w+ in |unhandled errors in|sub-exceptions?\)|ChildFailedError|ProcessRaisedException"
    r"|ProcessExitedException|returned non-zero exit|died with <Signals|PapermillExecutionError|CellExecutionError"
    r"|RayTaskError|RayActorError|RemoteTraceback|Pin memory thread exited|^TrainingFailedError|TuneError"
)
_ENDING = re.compile(
    r"^(?:KeyboardInterrupt|SystemExit|GeneratorExit|BrokenPipeError|ConnectionResetError|ConnectionAbortedError)\b"
    r"|^EOFError: Ran out of input|^EOFError$|Connection (?:closed|reset) by (?:remote )?peer|remote process exited"
)
_MESSAGE_ENDS = re.compile(
    r"""^(?:
        wandb:\ |srun:\ |slurmstepd|make:\ \*|Sentry\ |(?:ERROR|WARNING|INFO)[: ]|\s{0,9}\d+%\|
      | \"{3}$|[╰╭┌└]|={10,}|-{10,}
      | Set\ the\ environment\ variable\ HYDRA_FULL_ERROR | Process\ (?:finished|completed)\ with\ exit\ code
      | Press\ any\ key | \[\w+\ \w+\]\  | --\ Process\ \d+\ terminated
      | (?:[Ee]poch|[Ii]ter(?:ation)?|[Ss]tep|[Tt]rain(?:ing)?)[\s:=\[(\#]{1,3}\d
    )""",
    re.VERBOSE,
)
_LONGEST_MESSAGE = 40
_MOST_FRAMES = 400
_MOST_EXCEPTIONS = 200


def find_exceptions(lines: Sequence[LogLine]) -> tuple[LoggedException, ...]:
    """All exceptions that the lines show, the root cause first.

    Python prints the cause before what followed from it. An exception that only carries another one (a loader
    worker's, a group, a launcher's) or comes from the process's end is put behind it. Ranks and workers whose lines are
    marked are read apart, however their lines are mixed.
    """
    parsers: dict[str, _Parser] = {}
    previous = lines[0].number if lines else 0
    for line in lines:
        if line.number > previous + 1:
            for parser in parsers.values():
                parser.gap()
        previous = line.number
        if line.stream not in parsers:
            parsers[line.stream] = _Parser(line.stream)
        parsers[line.stream].feed(line.number, line.text)
    found = [error for parser in parsers.values() for error in parser.finish()]
    found = _merged(sorted(found, key=lambda error: error.line))[:_MOST_EXCEPTIONS]
    if all(error.follows for error in found):
        # With nothing else to follow from, the first one is the failure, unless a launcher only tells of it.
        found = [
            replace(error, follows=False) if place == 0 and not _LAUNCHER.search(error.text) else error
            for place, error in enumerate(found)
        ]
    return tuple(sorted(found, key=lambda error: error.follows))


def _merged(errors: Iterable[LoggedException]) -> list[LoggedException]:
    """Every rank of a distributed run prints the same exception; of equal ones the first with frames is kept."""
    kept: dict[tuple[str, str], LoggedException] = {}
    for error in errors:
        old = kept.get((error.type, error.message))
        if old is None:
            kept[error.type, error.message] = error
        elif error.frames and not old.frames:
            kept[error.type, error.message] = replace(error, line=old.line, follows=old.follows)
    return list(kept.values())


@dataclass(slots=True)
class _Open:
    """An exception whose message may go on."""

    type: str
    line: int
    start: int
    message: list[str]
    frames: tuple[Frame, ...]
    aside: bool


@dataclass(slots=True)
class _Parser:
    """Reads the lines of one rank, worker or container."""

    stream: str
    found: list[LoggedException] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    open: _Open | None = None
    in_frames: bool = False
    aside: bool = False
    start: int = 0
    indent: int = 0
    outer: str = ""
    carried: bool = False
    lead: str = ""
    wrapped: str = ""
    reverse: bool = False
    extra: bool = False

    def gap(self) -> None:
        """Lines are missing here."""
        self._close()
        self._named_above()
        self.frames.clear()
        self.in_frames = self.aside = self.carried = self.reverse = self.extra = False
        self.outer = self.wrapped = ""
        self.indent = 0

    def feed(self, number: int, text: str) -> None:
        """Take the next line."""
        text = self._unmarked(text)
        if not text:
            self._blank()
        elif _HEADER in text or _CHAIN.match(text):
            self._begin(number, text)
        elif _USER_CODE.match(text) and self.found and self.open is None:
            self.extra = True
        elif _CALLED_FIRST.search(text) and self._last_fatal() is not None:
            self._close()
            self.reverse = True
        elif frame := self._frame(text):
            self._add(number, frame)
        elif self._exception(number, text):
            pass
        elif self.open is not None:
            self._continue(text)
        elif self.in_frames:
            self._code(text)
        if text.strip():
            self.lead = text

    def finish(self) -> list[LoggedException]:
        """What was found."""
        self.gap()
        return self.found

    def _unmarked(self, text: str) -> str:
        text = _PYTEST.sub("", _GROUP.sub("", text, count=1), count=1)
        if self.indent and not text[: self.indent].strip():
            text = text[self.indent :]
        return text.rstrip()

    def _begin(self, number: int, text: str) -> None:
        aside = bool(_LEAD.match(self.lead))
        self.gap()
        before, header, _ = text.partition(_HEADER)
        self.in_frames, self.aside, self.start = bool(header), aside, number
        before = before.removesuffix("T")
        self.indent = len(before) - len(before.lstrip()) if header else 0
        # IPython names the type above the frames; loaders before torch 1.2 put the traceback into the message.
        named = _OUTER.match(before) if header else None
        self.outer = named["type"] if named else ""
        self.carried = bool(named and named["colon"])

    def _frame(self, text: str) -> Frame | None:
        if self.wrapped:
            joined, self.wrapped = self.wrapped + text.lstrip("│| "), ""
            return frame_line(joined)
        if (frame := frame_line(text)) is not None:
            return frame
        opened = text.lstrip().startswith('File "') and text.count('"') == 1
        boxed = text.rstrip(" │|") if self.in_frames and _BOXED_PATH.match(text) else ""
        if opened or (boxed and " in " not in boxed):
            self.wrapped = text.rstrip(" │|") + (" " if boxed.endswith(" in") else "")
        return None

    def _add(self, number: int, frame: Frame) -> None:
        self._close()
        if not self.frames and not self.in_frames:
            self.start = number
        if len(self.frames) < _MOST_FRAMES:
            self.frames.append(frame)
        self.in_frames = True

    def _exception(self, number: int, text: str) -> bool:
        after = bool(self.frames) and self.in_frames and self.open is None
        named = exception_line(text, after_frames=after)
        if named is None:
            named = self._native(text)
        if named is None and self.carried and after and not text.startswith((" ", "-")) and code_line(text) is None:
            named = (self.outer, text)
        if named is None:
            return False
        self._close()
        aside = self.aside or bool(_LEAD.match(self.lead))
        start = self.start if self.frames else number
        self.open = _Open(named[0], number, start, [named[1]], tuple(self.frames), aside)
        self.frames.clear()
        self.in_frames = self.aside = self.carried = False
        self.outer = ""
        return True

    def _native(self, text: str) -> tuple[str, str] | None:
        """What C++ prints, and Python when it dies."""
        if found := _FATAL.match(text):
            return found["type"], found["message"]
        if found := _TERMINATE.match(text):
            return found["type"], ""
        return None

    def _last_fatal(self) -> LoggedException | None:
        if self.open is not None and self.open.type == "Fatal Python error":
            self._close()
        last = self.found[-1] if self.found else None
        return last if last is not None and last.type == "Fatal Python error" and not last.frames else None

    def _continue(self, text: str) -> None:
        if self.open is None or _NATIVE.match(text):
            return
        if found := _WHAT.match(text):
            self.open.message = [found["message"]]
        elif len(self.open.message) >= _LONGEST_MESSAGE or _MESSAGE_ENDS.match(text) or is_prompt(text):
            self._close()
        else:
            self.open.message.append(text)

    def _code(self, text: str) -> None:
        if not self.frames:
            return
        last = self.frames[-1]
        if arrow := arrow_code(text):
            self.frames[-1] = Frame(last.path, arrow[0], last.function, arrow[1])
        elif not last.code and (code := code_line(text)):
            self.frames[-1] = Frame(last.path, last.line, last.function, code)

    def _blank(self) -> None:
        self._close()
        if (self.reverse or self.extra) and self.frames:
            self._attach()

    def _attach(self) -> None:
        """Frames that are printed below their exception: the user's code of a compiler, the stack of a dead process."""
        last = self.found[-1]
        frames = (*reversed(self.frames),) if self.reverse else (*last.frames, *self.frames)
        self.found[-1] = replace(last, frames=frames)
        self.frames.clear()
        self.in_frames = self.reverse = self.extra = False

    def _named_above(self) -> None:
        """A notebook's traceback that is cut off before its last line still names the type at its top."""
        if (self.reverse or self.extra) and self.frames:
            self._attach()
        elif self.outer and self.frames:
            self.found.append(LoggedException(self.outer, "", tuple(self.frames), self.start, self.start, self.stream))

    def _close(self) -> None:
        if self.open is None:
            return
        new, self.open = self.open, None
        error = LoggedException(
            new.type, "\n".join(new.message).strip(), new.frames, new.line, new.start, self.stream, new.aside
        )
        follows = new.aside or bool(_LAUNCHER.search(error.text) or _ENDING.search(error.text))
        self.found.append(replace(error, follows=follows))
