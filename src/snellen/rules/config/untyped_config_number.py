"""A number is taken from YAML, the environment or the command line without being made a number.

What happens
------------
It works until somebody writes `lr: 1e-4` instead of `lr: 0.0001`, or passes `--lr 0.001` instead of taking the
default. Then the value is text, and the error comes from inside the optimiser or the scheduler: see `config-type`.

Why
---
PyYAML reads YAML 1.1: a float needs a dot, `1e-4` is text. `os.environ` holds text only. `argparse` gives text
unless `type=` is stated, but leaves the default as it is, so that the mistake hides until the option is used.

How to confirm
--------------
`python -c "import yaml; print(repr(yaml.safe_load('lr: 1e-4')))"` prints `{'lr': '1e-4'}`.

Fix
---
`float(config["lr"])` where it is read, `type=float` for `argparse`; or load the whole file into a typed schema. In the
file write `1.0e-4` (and `1.0e+4`), which is a number for every reader of YAML.

When it is something else
-------------------------
JSON, TOML, OmegaConf and ruamel.yaml (YAML 1.2) read `1e-4` as a number; values from them are left alone.

Sources
-------
- YAML 1.1, the float type: https://yaml.org/type/float.html
- `argparse`, `type`: https://docs.python.org/3/library/argparse.html#type
- `os.environ`: https://docs.python.org/3/library/os.html#os.environ
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, Origin, Setting, SourceFile, Span

__all__ = ["RULE"]


_YAML = frozenset(f"yaml.{name}" for name in ("load", "safe_load", "full_load", "unsafe_load"))
_ENVIRONMENT = frozenset({"os.environ.get", "os.getenv"})
_OTHER_READERS = re.compile(
    r"OmegaConf|\bhydra\b|ruamel|jsonargparse|LightningCLI|add_implicit_resolver|\bpydantic\b|mmengine|mmcv|yacs|\bdacite\b"
)
"""Readers of YAML, or schemas behind one, that make numbers of such text."""
_FRACTIONS = frozenset(
    [
        "lr",
        "learning_rate",
        "base_lr",
        "max_lr",
        "min_lr",
        "eta_min",
        "weight_decay",
        "eps",
        "momentum",
        "alpha",
        "gamma",
        "label_smoothing",
    ]
)
"""Settings that people write as `1e-4`."""


def _examine(file: SourceFile) -> Iterator[Hit]:
    if file.settings:
        yield from _settings(file)
        return
    wrapped = {call.arguments[0].span for call in file.calls if call.name in ("float", "int") and call.arguments}
    for call in file.calls:
        if call.method == "add_argument":
            yield from _option(file, call)
        elif call.name in _ENVIRONMENT:
            yield from _variable(file, call, wrapped)
        elif call.method == "get" and call.receiver_origin is not None:
            yield from _looked_up(file, call, wrapped)
        yield from _passed(file, call)


def _settings(file: SourceFile) -> Iterator[Hit]:
    """Numbers of a YAML file that PyYAML, which the project reads it with, takes for text."""
    written = [setting for setting in file.settings if _number_for_people(setting)]
    if not written or any(_OTHER_READERS.search(part.text) for part in file.elsewhere):
        return
    loads = ((part, call) for part in file.elsewhere for call in part.calls if call.name in _YAML)
    part, load = next(loads, (None, None))
    if part is None or load is None:
        return
    where = Location(part.path, load.span.start_line, load.span.start_column + 1)
    evidence = Evidence(f"read here: {' '.join(load.code.split())[:100]}", where)
    for setting in written:
        last = re.escape(setting.key.rpartition(".")[2])
        if any(re.search(rf"\bfloat\([^\n]{{0,80}}\b{last}\b", part.text) for part in file.elsewhere):
            continue
        number = _with_a_dot(setting.code)
        fix = Fix(
            f"Write `{setting.key.rpartition('.')[2]}: {number}`.",
            safety=FixSafety.SAFE,
            reason="it is the same number, for every reader of YAML",
            edits=(file.edit(setting.span, number),),
        )
        yield Hit(f"{setting.key} is {setting.code}, which PyYAML reads as text", setting.span, fix, (evidence,))


def _number_for_people(setting: Setting) -> bool:
    number = isinstance(setting.value, float) and math.isfinite(setting.value)
    return number and isinstance(setting.yaml11, str)


def _with_a_dot(code: str) -> str:
    """A number as YAML 1.1 wants it: with a dot, and a sign before the exponent.

    Example:
        >>> _with_a_dot("1e-4"), _with_a_dot("2.5E4")
        ('1.0e-4', '2.5e+4')
    """
    mantissa, _, exponent = code.lower().partition("e")
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    return f"{mantissa}e{exponent if exponent[:1] in '+-' else f'+{exponent}'}" if exponent else mantissa


def _is_yaml(origin: Origin | None) -> bool:
    return origin is not None and origin.name in _YAML


def _converted_later(file: SourceFile, name: str | None) -> bool:
    return name is not None and re.search(rf"\b(?:float|int)\([^\n]*\b{re.escape(name)}\b", file.text) is not None


def _float_around(file: SourceFile, span: Span, code: str, kind: str = "float") -> Fix:
    return Fix(
        f"Write `{kind}({code})`.",
        safety=FixSafety.SAFE,
        reason="a number stays what it is, text becomes the number it spells",
        edits=(file.edit(span, f"{kind}({code})"),),
    )


def _option(file: SourceFile, call: CallSite) -> Iterator[Hit]:
    """An option whose default is a number, but which is text as soon as somebody gives it."""
    given = {argument.name for argument in call.arguments}
    default = call.argument(99, "default")
    number = default is not None and isinstance(default.value, (int, float)) and not isinstance(default.value, bool)
    option = call.arguments[0].value if call.arguments else None
    if not number or default is None or {"type", "action", "nargs", "choices", "const"} & given:
        return
    if not (isinstance(option, str) and option.startswith("-")):
        return
    kind = type(default.value).__name__
    message = f"`{option}` has the default {default.code} but no type: given on the command line it is text"
    fix = Fix(
        f"Add `type={kind}`.",
        safety=FixSafety.SAFE if kind == "float" else FixSafety.UNSAFE,
        reason="the default is one" if kind == "float" else "a whole default does not prove that no fraction is meant",
        edits=(file.edit(default.span, f"{default.code}, type={kind}"),),
    )
    yield Hit(message, default.span, fix)


def _variable(file: SourceFile, call: CallSite, wrapped: set[Span]) -> Iterator[Hit]:
    default = call.argument(1, "default")
    number = default is not None and isinstance(default.value, (int, float)) and not isinstance(default.value, bool)
    if (
        default is None
        or not number
        or call.target is None
        or call.span in wrapped
        or _converted_later(file, call.target)
    ):
        return
    message = f"text when the variable is set, the number {default.code} when it is not"
    yield Hit(message, call.span, _float_around(file, call.span, call.code, type(default.value).__name__))


def _looked_up(file: SourceFile, call: CallSite, wrapped: set[Span]) -> Iterator[Hit]:
    """`config.get("lr", 1e-4)` on what PyYAML has read."""
    default = call.argument(1, "default")
    if default is None or not isinstance(default.value, float) or not _is_yaml(call.receiver_origin):
        return
    if call.target is None or call.span in wrapped or _converted_later(file, call.target):
        return
    message = "PyYAML reads `1e-4`, without a dot, as text"
    yield Hit(message, call.span, _float_around(file, call.span, call.code))


def _passed(file: SourceFile, call: CallSite) -> Iterator[Hit]:
    """A value of a YAML file handed to an optimiser or scheduler as it is."""
    if not call.name.startswith("torch.optim."):
        return
    for argument in call.arguments:
        if argument.name in _FRACTIONS and _is_yaml(argument.origin) and not _found_above(file, argument):
            message = f"`{argument.name}` comes from PyYAML, which reads `1e-4`, without a dot, as text"
            yield Hit(message, argument.span, _float_around(file, argument.span, argument.code))


def _found_above(file: SourceFile, argument: Argument) -> bool:
    """Whether the place where the value was looked up is reported already."""
    return any(call.target == argument.code and call.method == "get" and len(call.arguments) > 1 for call in file.calls)


RULE = Rule(
    slug="untyped-config-number",
    family="config",
    title="A setting is used as a number without being made one",
    level=Level.WARNING,
    log=absent("what it leads to is a rule of its own: config-type"),
    source=SourceFacet(
        ("yaml", "environ", "getenv", "add_argument", *(f"{digit}e" for digit in range(10)), "E"), _examine
    ),
    before=absent("a run file is read as YAML 1.2 and checked against types: config-type"),
    during=absent("a value of the wrong type fails before the first step"),
    module=__name__,
)
