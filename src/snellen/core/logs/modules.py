"""Modules that a log says could not be imported, and whose they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from snellen.core.known.packages import CLONED, OWN_NAMES, is_package
from snellen.core.log import Log, LoggedException
from snellen.core.logs.messages import find_message

__all__ = ["MissingModule", "Owner", "missing_modules"]


class Owner(StrEnum):
    """Whose a module is."""

    PACKAGE = "package"
    PROJECT = "project"
    UNKNOWN = "unknown"
    NOBODY = "nobody"
    """Part of something that is there: the wrong version of it, or a repository without its own files."""


@dataclass(frozen=True, slots=True)
class MissingModule:
    """A module that Python did not find.

    Args:
        name: As Python names it; with a dot the part before it was found.
        owner: Whose it is.
        error: The exception; `None` when the log only mentions it.
        shadowed: Whether a file was found where a package was meant (`'utils' is not a package`).
        unpickling: Whether it was wanted by what a checkpoint holds.
    """

    name: str
    owner: Owner
    error: LoggedException | None = None
    shadowed: bool = False
    unpickling: bool = False

    @property
    def top(self) -> str:
        """The first part of the name."""
        return self.name.partition(".")[0]


_MISSING = re.compile(
    r"No module named (?P<quote>['\"]?)(?P<module>[A-Za-z_][\w.]{0,120})['\"]?(?P<package>; .{0,80} is not a package)?"
)
_INTERPRETER = re.compile(
    r"python[\d.]*(?:\.exe)?:(?: Error while finding module specification.{0,200})? No module named "
)
_UNPICKLES = frozenset({"find_class", "persistent_load", "_legacy_load", "_load"})


def missing_modules(log: Log) -> Iterator[MissingModule]:
    """Every module that the log's exceptions say is missing, root cause first; of a log without them the first line."""
    found = False
    for error in log.exceptions:
        missing = _MISSING.search(error.message)
        if missing is not None:
            found = True
            yield _missing(missing, error)
    if not found and (said := find_message(log, _INTERPRETER)) and (missing := _MISSING.search(said.evidence.text)):
        yield _missing(missing, None)


def _missing(found: re.Match[str], error: LoggedException | None) -> MissingModule:
    name = found["module"].rstrip(".")
    frames = error.frames if error is not None else ()
    unpickling = any(frame.function in _UNPICKLES and frame.in_library for frame in frames)
    owner = _owner(name, error, quoted=bool(found["quote"]))
    return MissingModule(name, owner, error, bool(found["package"]), unpickling)


def _owner(name: str, error: LoggedException | None, *, quoted: bool) -> Owner:
    top = name.partition(".")[0]
    # Python 3 names the part that it could not find: with a dot in it, the first part was found.
    if "." in name and quoted:
        return Owner.NOBODY
    cloned = error is not None and _within(top, error)
    if top == "datasets":
        return Owner.PROJECT if cloned or not _is_hugging_face(error) else Owner.PACKAGE
    if is_package(top):
        return Owner.PROJECT if cloned and top in CLONED else Owner.PACKAGE
    if "." in name:
        return Owner.NOBODY
    return Owner.PROJECT if cloned or top in OWN_NAMES else Owner.UNKNOWN


def _within(top: str, error: LoggedException) -> bool:
    """Whether the user's own files lie in a folder of that name, or of a project that is called so (`OpenPCDet`)."""
    for frame in error.frames:
        parts = [part.lower().replace("-", "_") for part in re.split(r"[/\\]", frame.path)[:-1]]
        name = top.lower()
        if not frame.in_library and any(part == name or (len(name) > 4 and name in part) for part in parts):
            return True
    return False


def _is_hugging_face(error: LoggedException | None) -> bool:
    code = " ".join(frame.code for frame in error.frames) if error is not None else ""
    return "from datasets." not in code and (
        "datasets import" not in code
        or re.search(
            r"datasets import .{0,80}\b(?:load_dataset|load_from_disk|Dataset|DatasetDict|Features|Image)\b", code
        )
        is not None
    )
