"""A setting has the wrong type, usually a number that was read as text.

What happens
------------
`TypeError: '<=' not supported between instances of 'float' and 'str'`, raised far from the configuration, inside
the optimiser: it checks `0.0 <= lr`. Or `'str' object cannot be interpreted as an integer` where the epochs are
counted.

Why
---
PyYAML follows YAML 1.1, in which a float needs a dot: `1e-4` is the text "1e-4", `1.0e-4` is a number. Environment
variables are always text, and so are command line options that were declared without `type=`.

How to confirm
--------------
`print(repr(lr))` shows quotes: `'1e-4'`. `python -c "import yaml; print(repr(yaml.safe_load('1e-4')))"` does the
same.

Fix
---
Convert where the value is read, `float(config["lr"])`, or write `0.0001`, or read the file as YAML 1.2
(ruamel.yaml), or validate it against types when it is loaded. `type=float` for `argparse`.

When it is something else
-------------------------
The same message on data instead of settings: a table whose column was read as text.

Sources
-------
- YAML 1.1, the float type and its dot: https://yaml.org/type/float.html
- YAML 1.2.2, the core schema, in which `1e-4` is a float: https://yaml.org/spec/1.2.2/#103-core-schema
- `argparse`, `type`: https://docs.python.org/3/library/argparse.html#type
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Finding, Fix, Level
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]


_COMPARED = re.compile(r"'[<>]=?' not supported between instances of '(float|int|str)' and '(float|int|str)'")
_TEXT = re.compile(
    r"unsupported operand type\(s\) for .*'str'|can't multiply sequence by non-int|must be real number, not str"
    r"|'str' object cannot be interpreted as an integer|must be Tensor, not str|takes \d+ positional argument"
)
_CONVERTED = re.compile(
    r"argument (?P<option>-[\w/, -]+): invalid \w+ value: (?P<value>'[^']*')"
    r"|[Kk]ey \"(?P<option2>[\w.]+)\": Expected a <class '\w+'>\. Got value: (?P<value3>\S+)"
    r"|Value (?P<value2>'[^']*') of type 'str' could not be converted to (?:Float|Integer|Boolean)"
)
_OPTIMISER = re.compile(r"optim|lr_scheduler|sched", re.IGNORECASE)
_GROUP = re.compile(r"""group\[["'](?P<name>\w+)["']\]""")
_SETTING = re.compile(
    r"""(?:cfg|config|conf|args|opt|hparams|params|settings)(?:\.\w+)*(?:\[["'](?P<key>\w+)["']\]|\.(?P<attribute>\w+))
        |\b(?P<known>lr|learning_rate|weight_decay|momentum|eps|epochs?|num_epochs|batch_size|warmup\w*|num_workers
            |gamma)\b
    """,
    re.VERBOSE,
)

_OPTION = re.compile(r"\b(?:self\.)?(?:args|opts?|options|flags|FLAGS|arguments)\.(?P<name>[a-z]\w*)")
"""A value that argparse or the like has read."""


def _examine(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        if error.name == "TypeError":
            score = _score(error)
            if score:
                frame = error.user_frame
                evidence = (error.evidence, *((frame.evidence,) if frame and frame.code else ()))
                return LogMatch(score, evidence, _cause(_name(error)), _advice(error))
    line = log.search(_CONVERTED.pattern)
    if line is not None and (found := _CONVERTED.search(line.text)):
        name = (found["option"] or found["option2"] or "").strip(" -/,") or None
        given = found["value"] or found["value2"] or found["value3"]
        cause = f"{name or 'A setting'} is {given}, which is not of its type."
        return LogMatch(0.9, (line.evidence,), cause, Fix(f"Give a value of the right type for {name or 'it'}."))
    return None


def _score(error: LoggedException) -> float:
    compared = _COMPARED.search(error.message)
    if compared and "str" not in compared.groups():
        return 0.0
    inside = any(_OPTIMISER.search(frame.path) for frame in error.frames[-3:])
    named = _name(error) is not None
    if compared:
        # Without frames: the comparison of a float with text is the check `0.0 <= lr` of every optimiser.
        bare = not error.frames and compared.groups() == ("float", "str")
        return 0.95 if inside else 0.85 if bare else 0.75 if named else 0.0
    if _TEXT.search(error.message):
        in_group = bool(error.frames) and bool(_GROUP.search(error.frames[-1].code))
        positional = "positional" in error.message
        return (0.75 if inside and in_group else 0.0) if positional else 0.8 if inside else 0.7 if named else 0.0
    return 0.0


def _name(error: LoggedException) -> str | None:
    """The setting that the failing lines speak of."""
    own = [frame for frame in error.frames if not frame.in_library]
    for frame in (*reversed(own), *reversed(error.frames)):
        found = _GROUP.search(frame.code) or _SETTING.search(frame.code)
        if found:
            return next(value for value in found.groupdict().values() if value)
    return None


def _cause(name: str | None) -> str:
    return f"`{name}` is text where a number is needed." if name else "A setting is text where a number is needed."


def _advice(error: LoggedException) -> Fix:
    """By where the value was read: an option of the command line, or a file of settings."""
    key = _name(error) or "lr"
    codes = [frame.code for frame in error.frames if not frame.in_library]
    option = next((found for code in reversed(codes) if (found := _OPTION.search(code))), None)
    if option is not None:
        name = option["name"]
        return Fix(
            f"`{option[0]}` comes from the command line: give the option its type where it is declared, "
            f'`parser.add_argument("--{name.replace("_", "-")}", type=float, ...)`.'
        )
    return Fix(
        f'Convert it where it is read: `float(config["{key}"])`. In the file write `0.0001` or `1.0e-4`: PyYAML reads '
        "`1e-4`, without a dot, as text. On the command line declare the option with `type=float`."
    )


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    yield from (finding for finding in plan.fact("config_findings") if finding.slug == "config-type")


RULE = Rule(
    slug="config-type",
    family="config",
    title="A setting has the wrong type",
    level=Level.ERROR,
    log=LogFacet(("typeerror", "could not be converted to", ": invalid ", "expected a <class"), _examine),
    source=absent("its pattern in source is a rule of its own: untyped-config-number"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("a value of the wrong type fails before the first step"),
    module=__name__,
)
