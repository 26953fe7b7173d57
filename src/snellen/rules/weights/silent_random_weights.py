"""Part of a model stays at its random initial values, and nothing says so.

What happens
------------
Nothing is raised. The model trains, slowly, or predicts noise. The only trace is a warning: `Some weights were not
initialized from the model checkpoint`, `missing keys in source state_dict`, or no trace at all.

Why
---
`load_state_dict(state, strict=False)` ignores every key that does not fit, and its answer, which lists them, is
thrown away. A prefix (`module.`, `backbone.`) makes all keys differ, so that nothing is loaded. `except: pass`
around the loading hides even a missing file.

How to confirm
--------------
`print(model.load_state_dict(state, strict=False))`: `missing_keys` must hold the new head and nothing else. Compare
the norm of a layer before and after.

Fix
---
Keep `strict=True`, and remove or rename keys on purpose before. Where `strict=False` is needed, compare
`missing_keys` with the list of parts that are meant to be new, and stop when there are others.

When it is something else
-------------------------
A new classification head on a pretrained backbone is meant to be random: its keys alone in the list are no problem.

Sources
-------
- `Module.load_state_dict`: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict
- Saving and loading models, partial loading: https://docs.pytorch.org/tutorials/beginner/saving_loading_models.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.state_dicts import renaming
from snellen.core.plan import Cost, Plan, setting_place
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]


_LISTED = re.compile(
    r"missing_keys=\[(?P<a>[^\]]+)\]|are newly initialized(?: because the shapes did not match)?: \[(?P<b>[^\]]+)\]"
    r"|missing keys in source state_dict: (?P<c>.+)|\bmissing[_ ]keys: ?\[(?P<d>[^\]]+)\]",
    re.IGNORECASE,
)
_OTHERS = re.compile(
    r"unexpected_keys=\[(?P<a>[^\]]+)\]|unexpected keys? in source state_dict: (?P<b>.+)"
    r"|\bunexpected[_ ]keys: ?\[(?P<c>[^\]]+)\]",
    re.IGNORECASE,
)
_ROW = re.compile(
    r"^[ \t]{0,8}\|?[ \t]{0,8}(?P<name>[A-Za-z_][\w.{},\-]{0,200}(?: [\w.{},\-]{1,40}){0,12})[ \t]{0,150}"
    r"\|[ \t]{0,8}MISSING\b"
)
_MEANT = re.compile(
    r"classifier|head|(?:^|\.)fc\b|score|pooler|logits|num_batches_tracked|position_ids"
    r"|relative_position_index|running_|conv_offset|decoder|(?:^|\.)neck\b|criterion|lora_|adapter"
)
_FEWEST = 3
"""So many keys beside the head must be missing: one or two are often buffers."""


def _examine_log(log: Log) -> LogMatch | None:
    if log.exceptions:
        return None
    for line in log.find(_LISTED.pattern):
        match = _judge(line.evidence, _keys(_LISTED, line.text), _unexpected(log, line.number))
        if match is not None:
            return match
    marked = (line for line in log.lines if "MISSING" in line.text)
    rows = [(line, found["name"]) for line in marked if (found := _ROW.match(line.text))]
    return _judge(rows[0][0].evidence, tuple(name for _, name in rows), ()) if rows else None


def _keys(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    found = pattern.search(text)
    listed = next((part for part in found.groups() if part), "") if found else ""
    return tuple(key for part in listed.split(",") if (key := part.strip(" '\"")))


def _unexpected(log: Log, number: int) -> tuple[str, ...]:
    """What the checkpoint holds instead, said on the same line or next to it."""
    near = [line for line in log.lines if abs(line.number - number) <= _NEAR]
    return next((keys for line in near if (keys := _keys(_OTHERS, line.text))), ())


_NEAR = 4


def _judge(evidence: Evidence, missing: tuple[str, ...], unexpected: tuple[str, ...]) -> LogMatch | None:
    lost = [key for key in missing if not _MEANT.search(key)]
    if len(lost) < _FEWEST:
        return None
    cause = f"{len(lost)} entries beside the head stay at random values, for example `{lost[0]}`."
    found = renaming(missing, unexpected)
    if found is None:
        fix = Fix(
            f"Compare `{lost[0]}` with the names in the checkpoint: a prefix such as `module.` or `backbone.` "
            "has to be removed or added. Load with `strict=True` once that is done."
        )
        return LogMatch(0.75, (evidence,), cause, fix)
    there = f"{found.given}{found.example.removeprefix(found.wanted)}"
    how = f"Replace `{found.given}` by `{found.wanted}`" if found.given and found.wanted else ""
    how = how or (f"Strip `{found.given}` from" if found.given else f"Put `{found.wanted}` in front of")
    fix = Fix(f"{how} the names of the checkpoint before loading, then load with `strict=True`.")
    return LogMatch(0.85, (evidence,), f"{cause} The checkpoint calls `{found.example}` `{there}`.", fix)


_CHOOSES = re.compile(r"intersect|filter|match\w*\(|select|\bfor\b[^\n]*\bif\b|\bif\b[^\n]*\bin\b")
_BROAD = frozenset({"Exception", "BaseException", "OSError", "RuntimeError", "FileNotFoundError", "KeyError"})


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for call in file.calls_to(".load_state_dict"):
        strict = call.argument(1, "strict")
        if strict is not None and strict.value is False and call.discarded and not _selected(file, call):
            fix = Fix(
                f"Look at the answer: `missing, unexpected = {call.code}`; stop when more than the new head is missing."
            )
            yield Hit("keys that do not fit are skipped, and the list of them is thrown away", call.span, fix)
    for block in file.tries:
        broad = not block.exceptions or bool(_BROAD & set(block.exceptions))
        loader = next((call for call in block.tried if _loads(call)), None)
        if block.swallows and broad and loader is not None:
            fix = Fix("Let it fail, or say which weights were not loaded.")
            yield Hit(
                "when loading fails the model keeps its random weights, silently", block.span, fix, level=Level.ERROR
            )


def _selected(file: SourceFile, call: CallSite) -> bool:
    """Whether the entries were chosen on purpose before: by a filter, or put together one by one."""
    state = call.argument(0, "state_dict")
    if state is None:
        return False
    if _CHOOSES.search(state.code):
        return True
    made = [item for item in file.assignments if item.function == call.function and item.target == state.code]
    updates = [other for other in file.calls_to(".update") if other.function == call.function]
    return any(_CHOOSES.search(item.code) for item in made) or any(o.receiver == state.code for o in updates)


def _loads(call: CallSite) -> bool:
    return call.method == "load_state_dict" or call.name in ("torch.load", "safetensors.torch.load_file")


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    for fit in plan.fact("weights_fit"):
        # Another network, or tensors of another shape, are refused loudly: state-dict-mismatch.
        if fit.loaded == fit.total or (fit.source and (fit.clashes or not fit.loaded)):
            continue
        place = setting_place(plan, fit.key)
        if not fit.source:
            role = "frozen, so it stays random for good" if fit.frozen else "trained from a random start"
            level = Level.ERROR if fit.frozen else Level.WARNING
            fix = Fix("Set model.pretrained: true, or give model.weights a file.")
            yield Finding("silent-random-weights", level, f"{fit.part} has no weights: it is {role}", place, fix=fix)
            continue
        names = ", ".join(fit.missing[:3]) + (", ..." if len(fit.missing) > 3 else "")
        yield Finding(
            "silent-random-weights",
            Level.ERROR,
            f"{fit.source} fits {fit.loaded} of {fit.total} tensors of {fit.part}; random would stay: {names}",
            place,
            fix=Fix("Choose the architecture that these weights were made for."),
        )


RULE = Rule(
    slug="silent-random-weights",
    family="weights",
    title="Part of the model was not loaded",
    level=Level.WARNING,
    log=LogFacet(("missing_keys", "newly initialized", "missing keys", "| missing"), _examine_log),
    source=SourceFacet(("load_state_dict", "except"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("what was loaded is settled before the first step"),
    module=__name__,
)
