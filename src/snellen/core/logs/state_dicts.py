"""What a log says of weights that do not fit a model: names that are missing or unexpected, sizes that differ."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.log import Log
from snellen.core.logs.messages import Message, find_message, numbers

__all__ = ["Misfit", "Renaming", "SizeMismatch", "grid_sides", "read_misfit", "renaming"]

_SAYS = re.compile(
    r"Error\(s\) in loading state_dict(?: for (?P<model>[A-Za-z_][\w.]{0,80}))?"
    r"|While copying the parameter named |size mismatch for [\w.]{1,200}: copying a param"
    r"|(?:unexpected|missing) keys? [\"'{][^\n]{1,200} in state_dict|missing keys in state_dict: "
    r"|Missing key\(s\) in state_dict|Unexpected key\(s\) in state_dict"
    r"|The model and loaded state dict do not match exactly|set `ignore_mismatched_sizes` to `False`"
)
_SHAPE = r"(?:torch\.Size\()?[\[(](?P<{}>[\d, ]{{0,80}})[\])]\)?"
_SIZES = (
    re.compile(
        r"size mismatch for (?P<name>[\w.\-]{1,200}): copying a param (?:with shape|of) "
        rf"{_SHAPE.format('given')} from checkpoint,? (?:the shape in current model is|where the shape is) "
        rf"{_SHAPE.format('wanted')}"
    ),
    re.compile(
        r"While copying the parameter named [\"']?(?P<name>[\w.\-]{1,200})[\"']?, whose dimensions in the model are "
        rf"{_SHAPE.format('wanted')} and whose dimensions in the checkpoint are {_SHAPE.format('given')}"
    ),
    re.compile(
        r"(?<![\w.])(?P<name>[A-Za-z_][\w.\-{},]{0,200}(?: [\w.\-{},]{1,40}){0,12})[ ]{0,150}\|[ ]{0,8}MISMATCH[ ]{0,8}"
        r"\|[^|\n]{0,60}ckpt: "
        rf"{_SHAPE.format('given')} vs model: ?{_SHAPE.format('wanted')}"
    ),
)
_SECTION = re.compile(
    r"(?P<missing>Missing key\(s\) in state_dict:|missing keys in (?:source )?state_dict:)"
    r"|(?P<unexpected>Unexpected key\(s\) in state_dict:|unexpected keys? in source state_dict:)"
    r"|size mismatch for|While copying the parameter|Traceback \(most|\bFile \"|You may consider adding"
)
_OLD = re.compile(r"unexpected key \"(?P<name>[\w.\-]{1,200})\" in state_dict")
_QUOTED = re.compile(r"[\"'](?P<name>[A-Za-z_0-9][\w.\-/]{0,200})[\"']")
_BARE = re.compile(r"(?P<name>[A-Za-z_][\w.\-/]{0,200})")
_LINES = 600
_MOST_KEYS = 4000


@dataclass(frozen=True, slots=True)
class SizeMismatch:
    """One tensor of another size.

    Args:
        name: Its name in the model.
        given: Shape in the checkpoint.
        wanted: Shape in the model.
    """

    name: str
    given: tuple[int, ...]
    wanted: tuple[int, ...]

    @property
    def rows_only(self) -> bool:
        """Whether only the first side differs: another number of classes, channels or tokens."""
        both = bool(self.given) and len(self.given) == len(self.wanted)
        return both and self.given[1:] == self.wanted[1:] and self.given[0] != self.wanted[0]


@dataclass(frozen=True, slots=True)
class Misfit:
    """Weights and a model that do not fit.

    Args:
        message: Where the log says so.
        model: Class of the model, `""` when it is not named.
        missing: Names that only the model has, as far as they are listed.
        unexpected: Names that only the checkpoint has.
        sizes: Tensors of another size.
    """

    message: Message
    model: str
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    sizes: tuple[SizeMismatch, ...]


@dataclass(frozen=True, slots=True)
class Renaming:
    """How the names of a checkpoint become those of the model.

    Args:
        given: Prefix in the checkpoint, `""` for none.
        wanted: Prefix in the model.
        example: A name as the model has it.
    """

    given: str
    wanted: str
    example: str


def read_misfit(log: Log) -> Misfit | None:
    """What the first complaint of a log lists; `None` when there is none."""
    message = find_message(log, _SAYS)
    if message is None:
        return None
    place = message.evidence.location
    start = place.line or 0 if place is not None else 0
    lines = [line.text for line in log.lines if start <= line.number < start + _LINES]
    text = "\n".join(lines)
    first = text.find("Traceback (most", 1)
    text = text if first < 0 else text[:first]
    missing, unexpected = _keys(text)
    sizes = {found.name: found for found in _sizes(text)}
    named = re.search(r"in loading state_dict for ([A-Za-z_][\w.]{0,80})", text)
    return Misfit(message, named[1] if named else "", missing, unexpected, tuple(sizes.values()))


def _keys(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {"missing": {}, "unexpected": {}}
    for old in _OLD.finditer(text):
        found["unexpected"].setdefault(old["name"])
    marks = list(_SECTION.finditer(text))
    for mark, following in zip(marks, [*marks[1:], None], strict=False):
        kind = mark.lastgroup
        if kind is None:
            continue
        section = text[mark.end() : following.start() if following else len(text)]
        for name in _names(section):
            if len(found[kind]) < _MOST_KEYS:
                found[kind].setdefault(name)
    return tuple(found["missing"]), tuple(found["unexpected"])


def _names(section: str) -> Iterator[str]:
    """The names that a section lists: quoted by torch, bare in lists of mmcv."""
    lines = section.split("\n")
    quoted = any(mark in lines[0] for mark in "\"'") or not lines[0].strip()
    for number, line in enumerate(lines):
        if number and not (any(mark in line for mark in "\"'") if quoted else "," in line):
            return
        yield from (match["name"] for match in (_QUOTED if quoted else _BARE).finditer(line))


def _sizes(text: str) -> Iterator[SizeMismatch]:
    for pattern in _SIZES if "MISMATCH" in text else _SIZES[:2]:
        for found in pattern.finditer(text):
            given, wanted = numbers(found["given"]), numbers(found["wanted"])
            if given != wanted:
                yield SizeMismatch(found["name"].strip(), given, wanted)


def renaming(missing: tuple[str, ...], unexpected: tuple[str, ...]) -> Renaming | None:
    """The prefix that makes the names of a checkpoint those of the model, when most of them agree on one.

    Example:
        >>> found = renaming(("conv.weight", "fc.bias"), ("module.conv.weight", "module.fc.bias"))
        >>> found.given, found.wanted
        ('module.', '')
    """
    by_tail: dict[str, list[str]] = {}
    for name in missing:
        for part in _tails(name):
            by_tail.setdefault(part, []).append(name)
    votes: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for name in unexpected:
        tail = next((tail for tail in _tails(name) if tail in by_tail), None)
        # A tail that several names share (`0.weight`) says nothing of which belongs to which.
        if tail is None or len(by_tail[tail]) > 1:
            continue
        pair = (name[: -len(tail)], by_tail[tail][0][: -len(tail)])
        votes[pair] += 1
        examples.setdefault(pair, by_tail[tail][0])
    if not votes:
        return _known_prefix(missing, unexpected)
    pair, count = votes.most_common(1)[0]
    if count * 10 < 6 * sum(votes.values()) or pair[0] == pair[1]:
        return None
    return Renaming(pair[0], pair[1], examples[pair])


def grid_sides(size: SizeMismatch) -> tuple[int, int] | None:
    """The side of the square grid that a position embedding is for, in the checkpoint and in the model.

    Example:
        >>> grid_sides(SizeMismatch("pos_embed", (1, 197, 768), (1, 577, 768)))
        (14, 24)
    """
    given, wanted = size.given, size.wanted
    if len(given) != len(wanted) or not given or given[-1] != wanted[-1]:
        return None
    if len(given) == 4:
        return (given[1], wanted[1]) if given[1] == given[2] and wanted[1] == wanted[2] else None
    if "rel_pos" in size.name and "bias" not in size.name:
        return ((given[0] + 1) // 2, (wanted[0] + 1) // 2) if len(given) == 2 else None
    tokens = (given[-2], wanted[-2]) if len(given) > 1 else None
    for extra in (0, 1, 2, 5) if tokens else ():
        sides = [math.isqrt(max(0, count - extra)) for count in tokens or ()]
        if all(side > 1 and side * side == count - extra for side, count in zip(sides, tokens or (), strict=True)):
            if "relative_position" in size.name:
                return (sides[0] + 1) // 2, (sides[1] + 1) // 2
            return sides[0], sides[1]
    return None


def _tails(name: str) -> Iterator[str]:
    """`a.b.c.weight`, `b.c.weight`, `c.weight`: what may be left of a name without its prefix, longest first."""
    parts = name.split(".")
    return (".".join(parts[start:]) for start in range(max(1, len(parts) - 1)))


_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.")


def _known_prefix(missing: tuple[str, ...], unexpected: tuple[str, ...]) -> Renaming | None:
    """A wrapper's prefix that all names of one list have and none of the other, where the lists were cut short."""
    for prefix in _WRAPPERS:
        there = [bool(names) and all(name.startswith(prefix) for name in names) for names in (missing, unexpected)]
        absent = [bool(names) and not any(name.startswith(prefix) for name in names) for names in (missing, unexpected)]
        if there[1] and (absent[0] or (not missing and prefix in _WRAPPERS[:2])):
            return Renaming(prefix, "", (missing or (unexpected[0].removeprefix(prefix),))[0])
        if there[0] and absent[1]:
            return Renaming("", prefix, missing[0])
    return None
