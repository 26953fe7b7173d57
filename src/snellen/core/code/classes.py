"""How many classes a file says there are, and how it numbers their names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.finding import Evidence, Location
from snellen.core.source import Assignment, SourceFile, Span

__all__ = ["ClassCount", "ClassMap", "class_counts", "class_maps", "is_map_name"]

_COUNT = re.compile(
    r"^(?:num|n|nb|number_of|no_of)_?(?:classes|class|labels|categories)$|^n?classes_num$|^nclass(?:es)?$"
)
_LIST = re.compile(r"^(?:class|label|category|cat)_?(?:names|list|labels)$|^(?:classes|categories)$")
_HEAD = re.compile(r"(?:^|\.)(?:_?fc|classifier|head|last_linear|logits)(?:\[-?\d\])?$")
_COUNTED = re.compile(r"(?:num|n|nb)_?class\w*\s*\+\s*1|len\(\w*class\w*\)\s*\+\s*1", re.IGNORECASE)
_KIND = r"(?:class|label|cat|category|cls|species|synset|target)(?:_?name)?(?:s|es)?"
_NUMBER = r"(?:id|idx|index|ind|int|num|number|label|class|cls|target|train_?id)s?"
_MAP = re.compile(
    rf"(?:^|_){_KIND}_?(?:to|2)_?(?:\w+_)?{_NUMBER}$"
    r"|(?:^|_)\w+_?(?:to|2)_?(?:class|label|cls|target|category)(?:_?(?:id|idx|index|num))?$"
    r"|(?:^|_)(?:class|label|cat|category|cls|species|target)(?:es|s)?_?(?:map|mapping|dict|ids|lookup|table|indices|encoder)$"
    r"|(?:^|_)(?:map|mapping)_?(?:label|class|categor)\w*$",
    re.IGNORECASE,
)
_NO_MAP = re.compile(
    r"count|freq|hist|weight|score|prob|size|colou?r|total|stat|(?:^|_)num_|acc|loss|(?:id|idx|index|num|int)s?_?(?:to|2)",
    re.IGNORECASE,
)
_ENUMERATED = re.compile(
    r"^\{\s*(?P<name>\w+)\s*:\s*(?P<index>\w+)(?P<plus>\s*\+\s*1)?\s+for\s+(?P=index)\s*,\s*(?P=name)\s+in\s+enumerate\("
    r"(?P<of>[^(),]+(?:\([^()]*\))?)(?:,\s*(?:start\s*=\s*)?(?P<start>\d+))?\)\s*\}$"
)
_LARGEST = 20_000


@dataclass(frozen=True, slots=True)
class ClassCount:
    """A number of classes that the text states.

    Args:
        count: The number.
        evidence: Where it stands.
    """

    count: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class ClassMap:
    """A dictionary from names of classes to their numbers.

    Args:
        target: What holds it.
        span: Where it is written.
        values: Its numbers, where they are written out; empty where they are counted.
        of: Text of what is counted, for a map that is made by `enumerate`.
        start: The first number of such a map.
    """

    target: str
    span: Span
    values: tuple[int, ...] = ()
    of: str = ""
    start: int = 0


def is_map_name(name: str) -> bool:
    """Whether a name reads like that of a map from labels to their numbers.

    Example:
        >>> is_map_name("self.class_to_idx"), is_map_name("name2label"), is_map_name("LABEL_MAP")
        (True, True, True)
        >>> is_map_name("label_counts"), is_map_name("location_to_idx"), is_map_name("id2label")
        (False, False, False)
    """
    last = name.rpartition(".")[2]
    return bool(_MAP.search(last)) and not _NO_MAP.search(last)


def class_counts(file: SourceFile) -> tuple[ClassCount, ...]:
    """The numbers of classes that a file states: as a constant, an argument, a list of names or the size of a head.

    Nothing where it also adds one, for a background: which number is meant then is not settled.
    """
    return () if _COUNTED.search(file.text) else tuple(_counts(file))


def _counts(file: SourceFile) -> Iterator[ClassCount]:
    for item in file.assignments:
        name = item.target.rpartition(".")[2].lower()
        value = item.value
        if _COUNT.match(name) and isinstance(value, int) and not isinstance(value, bool):
            yield _count(file, value, f"{item.target} = {item.code}", item.span)
        elif _LIST.match(name) and isinstance(value, tuple) and all(isinstance(entry, str) for entry in value):
            yield _count(file, len(value), f"{item.target} holds {len(value)} names", item.span)
        elif _HEAD.search(item.target) and item.call is not None and item.call.name == "torch.nn.Linear":
            width = item.call.argument(1, "out_features")
            if width is not None and isinstance(width.value, int):
                yield _count(file, width.value, f"{item.target} = {item.code}", item.span)
    for call in file.calls:
        for argument in call.arguments:
            named = _COUNT.match((argument.name or "").lower())
            if named and isinstance(argument.value, int) and not isinstance(argument.value, bool):
                yield _count(file, argument.value, f"{argument.name}={argument.code}", argument.span)


def _count(file: SourceFile, number: int, text: str, span: Span) -> ClassCount:
    place = Location(file.path, span.start_line, span.start_column + 1)
    return ClassCount(number, Evidence(" ".join(text.split())[:120], place))


def class_maps(file: SourceFile) -> Iterator[ClassMap]:
    """Dictionaries from names of classes to their numbers, written out or counted by `enumerate`."""
    for item in file.assignments:
        code = item.code.strip()
        if not code.startswith("{") or len(code) > _LARGEST or item.operator:
            continue
        counted = _ENUMERATED.match(" ".join(code.split()))
        if counted:
            start = int(counted["start"] or 0) + (1 if counted["plus"] else 0)
            yield ClassMap(item.target, item.span, of=counted["of"].strip(), start=start)
        elif values := _written(item):
            yield ClassMap(item.target, item.span, values)


def _written(item: Assignment) -> tuple[int, ...]:
    """The numbers of a dictionary of at least two names, `()` when it is something else."""
    try:
        read = ast.literal_eval(item.code)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return ()
    if not isinstance(read, dict) or len(read) < 2 or not all(isinstance(key, str) for key in read):
        return ()
    values = tuple(read.values())
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return values if whole else ()
