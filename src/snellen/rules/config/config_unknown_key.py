"""A setting has a name that nothing reads, or a name that stands twice.

What happens
------------
Either a crash while the model or the data set is built: `__init__() got an unexpected keyword argument 'val'`, `Key
'lrr' is not in struct`, `Non-existent config key: MODEL.MASKIOU_ON`. Or nothing at all: a lenient loader drops
`bath_size: 64` and the run takes the default.

Why
---
A misspelling, a key in the wrong section, a key of another version of the program, or a key that stands twice, of
which PyYAML silently keeps the last one.

How to confirm
--------------
Look the key up in the program's own default configuration of the same version.

Fix
---
Write the nearest key that exists, or move it to the section where it belongs. Read configurations strictly, so that
an unknown or repeated key is an error when the file is read.

When it is something else
-------------------------
`got an unexpected keyword argument` without a configuration in between is a call in code: often an API that changed
between two versions of a library.

Sources
-------
- YAML 1.2.2: keys of a mapping must be unique: https://yaml.org/spec/1.2.2/#3213-node-comparison
- OmegaConf, struct mode: https://omegaconf.readthedocs.io/en/latest/usage.html#struct-flag
- pydantic, `extra="forbid"`: https://docs.pydantic.dev/latest/api/config/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.file_kinds import nearest
from snellen.core.finding import Finding, Fix, Level
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.plan import Cost, Plan
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]


_STATED = re.compile(
    r"Non-existent config key: (?P<yacs>[\w.]+)|[Kk]ey '(?P<struct>[\w.]+)' (?:is )?not in (?:struct|'[\w.]+')"
    r"|Missing (?:key|mandatory value:) (?P<missing>[\w.]+)"
    r"|Could not override '(?P<hydra>[\w.@/]+)'|found duplicate key \"?(?P<twice>[\w.-]+)"
    r"|(?<![\w.])(?P<pydantic>[\w.]+)\n\s+Extra inputs are not permitted"
)
_KEYWORD = re.compile(r"__init__\(\) got an unexpected keyword argument '(?P<key>\w+)'")
_BUILDER = re.compile(r"build_from_cfg|build_|instantiate|from_config|from_cfg", re.IGNORECASE)
_UNPACKED = re.compile(r"\*\*\s*(?:\w+\.)*\w*(?:cfg|config|conf|hparams|settings|opts?)\b", re.IGNORECASE)
_LOOKED_UP = re.compile(
    r"(?:cfg|config|conf|hparams|settings|opts?)\b[\w.\[\]\"']*\[[\"'](?P<key>[\w.-]+)[\"']\]", re.IGNORECASE
)
_SETTINGS_LIBRARY = re.compile(r"\b(?:yacs|easydict|omegaconf|addict|ml_collections|munch)\b")
_NAMESPACE = re.compile(
    r"'(?:\w*(?:Config|Cfg|EasyDict|AttrDict|HParams|Namespace)\w*)' object has no attribute '(?P<key>\w+)'"
)


def _examine(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        found = _STATED.search(error.message) or _STATED.search(error.text)
        if found:
            return _match(log, error, next(value for value in found.groupdict().values() if value), 0.93)
        found = _KEYWORD.search(error.message)
        if found and any(_BUILDER.search(f.function) or _UNPACKED.search(f.code) for f in error.frames[-2:]):
            return _match(log, error, found["key"], 0.8)
        inside = bool(error.frames) and bool(_SETTINGS_LIBRARY.search(error.frames[-1].path))
        bare = re.fullmatch(r"['\"]?(?P<key>[\w.]+)['\"]?", error.message)
        if inside and bare and error.name in ("AttributeError", "KeyError"):
            return _match(log, error, bare["key"], 0.85)
        found = _NAMESPACE.search(error.message)
        if found and error.name == "AttributeError":
            return _match(log, error, found["key"], 0.75)
        looked_up = _LOOKED_UP.search(error.frames[-1].code) if error.name == "KeyError" and error.frames else None
        if looked_up and looked_up["key"] == error.message.strip("'\""):
            return _match(log, error, looked_up["key"], 0.75)
    return None


def _match(log: Log, error: LoggedException, key: str, score: float) -> LogMatch:
    frame = error.user_frame
    evidence = (error.evidence, *((frame.evidence,) if frame else ()))
    if "duplicate" in error.message:
        return LogMatch(score, evidence, f"`{key}` stands twice.", Fix(f"Keep one of the two `{key}`."))
    close = nearest(key.rpartition(".")[2], _keys_in(log) - {key.rpartition(".")[2]}, cutoff=0.75)
    hint = f" The log has a similar one: `{close}`." if close else ""
    missing = error.name in ("KeyError", "AttributeError", "ConfigAttributeError", "ConfigKeyError")
    if missing and "Non-existent" not in error.message:
        cause = f"The program asks for the setting `{key}`, which the configuration does not have."
        return LogMatch(score, evidence, cause, Fix(f"Add `{key}` to the configuration, or correct its name.{hint}"))
    cause = f"Nothing reads a setting called `{key}` there."
    return LogMatch(score, evidence, cause, Fix(f"Remove `{key}`, move it to its section, or correct its name.{hint}"))


def _keys_in(log: Log) -> set[str]:
    """Names that stand like settings in the lines: `name: value`, `--name`, `name=value`."""
    pattern = re.compile(r"^\s*([A-Za-z_]\w+):\s|--([A-Za-z][\w-]+)|\b([A-Za-z_]\w+)=")
    return {name for line in log.lines for found in pattern.finditer(line.text) for name in found.groups() if name}


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    yield from (finding for finding in plan.fact("config_findings") if finding.slug == "config-unknown-key")


RULE = Rule(
    slug="config-unknown-key",
    family="config",
    title="A setting has a name that nothing reads",
    level=Level.ERROR,
    log=LogFacet(
        (
            "keyword argument",
            "not in struct",
            "non-existent config key",
            "duplicate key",
            "extra inputs",
            "keyerror",
            "attributeerror",
            "missing key",
            "missing mandatory",
            "has no attribute",
            "could not override",
        ),
        _examine,
    ),
    source=absent("which keys exist is known to the program that reads the file, not to its callers"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("settings are read before the first step"),
    module=__name__,
)
