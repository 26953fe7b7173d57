"""A label that the class map does not know is quietly turned into one of its classes.

What happens
------------
Nothing is raised. `label_map.get(name, 0)` gives every misspelled, new or empty label the number 0, so that the first
class fills up with samples of all kinds: its recall falls, the confusion matrix shows one crowded column, and a data
set without any matching label still trains, with a single class.

Why
---
A default in `get`, a `defaultdict`, `except KeyError: label = 0` or `fillna(0)` answers a question that has no answer.
The number is a valid class, so that neither the loss nor a metric can tell it from a real label. `Cat`, `cat ` and
`cat` are three names to a dictionary.

How to confirm
--------------
`set(labels) - set(label_map)` over the whole data set: it must be empty.

Fix
---
Look it up with `label_map[name]`, so that an unknown label stops the program and names itself; or collect the unknown
ones when the data set is made and say how many there are. What is to be left out gets a number that the loss ignores:
`ignore_index`, -100 by default.

When it is something else
-------------------------
A dictionary that counts (`counts.get(name, 0)`), and a class "other" or "background" that is meant to take what is
left, are fine.

Sources
-------
- `dict.get`: https://docs.python.org/3/library/stdtypes.html#dict.get
- `torch.nn.CrossEntropyLoss`, `ignore_index`: https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.classes import ClassMap, class_maps, is_map_name
from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Assignment, CallSite, Hit, SourceFile, TryBlock

__all__ = ["RULE"]


_MEANT = re.compile(
    r"ignor|unk|other|backg|(?:^|_)bg|void|none|miss|pad|null|rest|negative|default_(?:class|label)", re.IGNORECASE
)
_COUNTS = re.compile(r"\+=|\+\s*1\b")


def _examine(file: SourceFile) -> Iterator[Hit]:
    maps = {found.target: found for found in class_maps(file)}
    for call in file.calls:
        if call.method == "get" and call.receiver is not None and len(call.arguments) == 2:
            yield from _with_default(file, call, maps)
        elif call.name == "collections.defaultdict" and len(call.arguments) == 2:
            yield from _default_dict(call, maps)
        elif call.method == "fillna" and call.receiver is not None:
            yield from _filled(call, maps)
    for block in file.tries:
        yield from _caught(file, block, maps)
    for item in file.assignments:
        yield from _chosen(item, maps)
        yield from _from_list(item)


_REMAP = re.compile(
    r"(?:^|[._])(?:orig(?:inal)?|old|raw|src|source|global)\w*_?(?:to|2)_?\w+$"
    r"|(?:^|\.)(?:index_|idx_|id_|ids_|label_|class_)?(?:re)?map(?:ping|ped)?s?$",
    re.IGNORECASE,
)
_LABEL = re.compile(r"label|class|cls|target|categor|species|(?:^|[^a-z])y(?:[^a-z]|$)", re.IGNORECASE)


def _is_map(name: str, maps: dict[str, ClassMap], around: str = "") -> bool:
    """Whether a name holds a map from labels to numbers: it reads so, or it is written so and used for labels.

    Args:
        name: The name.
        maps: The maps of the file.
        around: Names of what is looked up, of what it is assigned to, and of the function.
    """
    if is_map_name(name):
        return True
    found = maps.get(name) or maps.get(name.removeprefix("self."))
    written = found is not None and (bool(found.of) or _numbered(found))
    of = found.of if found is not None else ""
    return (written or bool(_REMAP.search(name))) and bool(_LABEL.search(f"{around} {of}"))


def _numbered(found: ClassMap) -> bool:
    """Whether the numbers are those of classes: whole, counted without a gap."""
    values = set(found.values)
    return len(values) > 1 and values == set(range(min(values), max(values) + 1)) and min(values) in (0, 1)


def _a_class(value: object, code: str, name: str, maps: dict[str, ClassMap]) -> bool:
    """Whether a default is, or may be, the number of one of the classes."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0 or value >= 100 or _MEANT.search(code):
        return False
    found = maps.get(name)
    # 0 beside classes that count from 1 is the background of detectors, a class like any other.
    return found is None or not found.values or value in found.values or value == 0


def _with_default(file: SourceFile, call: CallSite, maps: dict[str, ClassMap]) -> Iterator[Hit]:
    key, default = call.arguments
    name = call.receiver or ""
    around = f"{key.code} {_around(file, call)}"
    if (
        default.name is not None
        or not _is_map(name, maps, around)
        or not _a_class(default.value, default.code, name, maps)
    ):
        return
    line = file.text.splitlines()[call.span.end_line - 1][call.span.end_column :]
    if _COUNTS.match(line.strip()) or isinstance(key.value, str):
        return
    fix = Fix(
        f"Write `{name}[{key.code}]`: an unknown label then stops the program and names itself.",
        FixSafety.UNSAFE,
        "labels that are not in the map raise a KeyError, which is the point",
        edits=(file.edit(call.span, f"{name}[{key.code}]"),),
    )
    yield Hit(_message(name, default.value), call.span, fix)


def _around(file: SourceFile, call: CallSite) -> str:
    """Names of what a call's result goes to, and of what is looped over."""
    targets = " ".join(item.target for item in file.assignments if item.span.contains(call.span))
    loops = " ".join(f"{loop.target} {loop.header}" for loop in file.loops_around(call.span))
    return f"{targets} {loops} {call.function}"


def _message(name: str, value: object) -> str:
    return f"a label that `{name}` does not know becomes class {value}"


def _default_dict(call: CallSite, maps: dict[str, ClassMap]) -> Iterator[Hit]:
    """`defaultdict(lambda: 0, {...})` as a map of classes."""
    factory, content = call.arguments
    constant = re.fullmatch(r"lambda\s*:\s*(\d{1,2})", factory.code)
    value = 0 if factory.code == "int" else int(constant[1]) if constant else None
    written = content.code.lstrip().startswith("{") or content.code in maps
    if value is None or not written or call.target is None or not is_map_name(call.target):
        return
    fix = Fix(f"Write `dict({content.code})`." if content.code in maps else "Use a plain dictionary.")
    yield Hit(_message(call.target, value), call.span, fix)


def _filled(call: CallSite, maps: dict[str, ClassMap]) -> Iterator[Hit]:
    """`frame["label"].map(label_map).fillna(0)`."""
    mapped = re.search(r"\.(?:map|replace)\(\s*([A-Za-z_][\w.]{0,80})\s*\)$", call.receiver or "")
    value = call.arguments[0] if call.arguments else None
    if (
        mapped
        and value is not None
        and _is_map(mapped[1], maps, call.target or "")
        and _a_class(value.value, value.code, mapped[1], maps)
    ):
        fix = Fix("Look at the rows with `.isna()` after `map`, and stop or drop them with a message.")
        yield Hit(_message(mapped[1], value.value), call.span, fix)


_SET = re.compile(r"(?P<target>[A-Za-z_][\w.]*)\s*=\s*(?P<value>\d{1,2})\s*(?:#.*)?$")
_GIVEN = re.compile(r"return\s+(?P<value>\d{1,2})\s*(?:#.*)?$")
_LOOKED_UP = re.compile(r"(?P<map>(?:self\.)?[A-Za-z_]\w*(?:\.\w+)*)\[(?P<key>[^\]\n]{1,80})\]")


def _caught(file: SourceFile, block: TryBlock, maps: dict[str, ClassMap]) -> Iterator[Hit]:
    """`try: label = label_map[name]`, `except KeyError: label = 0`."""
    if block.exceptions and not {"KeyError", "LookupError", "Exception"} & set(block.exceptions):
        return
    body = block.body.strip().splitlines()[-1:] or [""]
    chosen = _SET.fullmatch(body[0]) or _GIVEN.fullmatch(body[0])
    target = chosen.groupdict().get("target") or "return" if chosen else ""
    before = [a for a in file.assignments if a.function == block.function and a.span.end < block.span.start]
    tried = before[-1] if before else None
    if chosen is None or tried is None or tried.target != target or not _in_try(file, tried, block):
        return
    found = _LOOKED_UP.search(tried.code)
    value = int(chosen["value"])
    if (
        found
        and _is_map(found["map"], maps, f"{tried.target} {tried.function}")
        and _a_class(value, body[0], found["map"], maps)
    ):
        fix = Fix("Let the KeyError through, or collect the unknown labels and say how many there are.")
        yield Hit(_message(found["map"], value), block.span, fix)


def _in_try(file: SourceFile, item: Assignment, block: TryBlock) -> bool:
    """Whether nothing but the lines of one `try` stands between an assignment and the handler."""
    lines = file.text.splitlines()[item.span.start_line - 1 : block.span.start_line]
    indent = len(lines[-1]) - len(lines[-1].lstrip())
    return all(not line.strip() or len(line) - len(line.lstrip()) > indent for line in lines[:-1])


_EITHER = re.compile(
    r"(?P<map>(?:self\.)?[A-Za-z_]\w*(?:\.\w+)*)\[(?P<key>[^\]\n]{1,80})\]\s+if\s+(?P=key)\s+in\s+(?P=map)(?:\.keys\(\))?"
    r"\s+else\s+(?P<value>\d{1,2})(?![\w.])"
)
_UNKNOWN_KEY = re.compile(
    r"^(?:not\s+\(?\s*)?[\w.\[\]'\"]{1,80}\s+(?P<no>not\s+)?in\s+(?P<map>[\w.]{1,80}?)(?:\.keys\(\))?\)?$"
)


def _chosen(item: Assignment, maps: dict[str, ClassMap]) -> Iterator[Hit]:
    """`label_map[x] if x in label_map else 0`, and `if x not in label_map: label = 0`."""
    fix = Fix("Raise an error that names the unknown label, or leave the sample out and say so.")
    either = _EITHER.search(" ".join(item.code.split()))
    if either:
        value = int(either["value"])
        if _is_map(either["map"], maps, f"{item.target} {item.function}") and _a_class(
            value, item.code, either["map"], maps
        ):
            yield Hit(_message(either["map"], value), item.span, fix)
        return
    test = _UNKNOWN_KEY.match(item.conditions[-1]) if item.conditions else None
    negated = test is not None and (bool(test["no"]) != item.conditions[-1].startswith("not"))
    if test is None or not negated or not re.search(r"label|class|cls|target|cat|return|(?:^|\.)y$", item.target):
        return
    if _is_map(test["map"], maps, item.target) and _a_class(
        item.value, f"{item.target} {item.code}", test["map"], maps
    ):
        yield Hit(_message(test["map"], item.value), item.span, fix)


_OR = re.compile(r"^(?P<map>[\w.]{1,80})\.get\([^()]{1,80}\) or (?P<value>\d{1,2})$")
_PLACE = re.compile(
    r"^(?P<list>[\w.]{1,80})\.index\((?P<key>[^()]{1,80})\) if (?P=key) in (?P=list) else (?P<value>\d{1,2})$"
    r"|^next\(\(?(?P<i>\w+) for (?P=i), \w+ in enumerate\((?P<of>[\w.]+)\) if [^,]{1,80}\), (?P<default>\d{1,2})\)$"
)
_CLASS_LIST = re.compile(r"(?:^|[._])(?:classes|class_names|class_list|labels|label_names|categories)$", re.IGNORECASE)


def _from_list(item: Assignment) -> Iterator[Hit]:
    """`CLASSES.index(name) if name in CLASSES else 0`, and `label_map.get(name) or 0`."""
    code = " ".join(item.code.split())
    fix = Fix("Raise an error that names the unknown label, or leave the sample out and say so.")
    either = _OR.match(code)
    if either and _is_map(either["map"], {}) and _a_class(int(either["value"]), code, either["map"], {}):
        yield Hit(_message(either["map"], int(either["value"])), item.span, fix)
    found = _PLACE.match(code)
    name = (found["list"] or found["of"]) if found else ""
    if found and _CLASS_LIST.search(name) and not _MEANT.search(code):
        yield Hit(_message(name, int(found["value"] or found["default"])), item.span, fix)


RULE = Rule(
    slug="class-map-default",
    family="data",
    title="An unknown label becomes a class by default",
    level=Level.WARNING,
    log=absent("the number is a valid class, so that nothing is printed"),
    source=SourceFacet((".get(", "defaultdict", "fillna", "KeyError", "except", " in "), _examine),
    before=absent("the engine's class maps refuse labels that they do not know"),
    during=absent("a wrong label looks like any other in the loss"),
    module=__name__,
)
