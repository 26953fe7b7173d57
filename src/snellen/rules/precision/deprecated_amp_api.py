"""Mixed precision is written with names that PyTorch has deprecated.

What happens
------------
A warning, nothing more: ``FutureWarning: `torch.cuda.amp.autocast(args...)` is deprecated. Please use
`torch.amp.autocast('cuda', args...)` instead.`` and the same for `GradScaler`, `custom_fwd` and `custom_bwd`. The run
goes on and its numbers are right. The warning is often the last readable line before something else goes wrong.

Why
---
Since torch 2.4 mixed precision has one interface for all devices, `torch.amp`, which takes the device as its first
argument. The old names hand their arguments on to it, in another order: `torch.cuda.amp.autocast(True)` means
`enabled=True`, the second argument of `torch.amp.autocast` is the dtype.

How to confirm
--------------
`python -W error::FutureWarning train.py` turns the warning into an exception with the line that causes it. If that line
is in an installed package or in the cache of torch.hub, it is not your code that is old.

Fix
---
`torch.amp.autocast("cuda", ...)` and `torch.amp.GradScaler("cuda", ...)`, the latter since torch 2.3. In a library:
upgrade it. `snellen lint --fix` rewrites your own code.

When it is something else
-------------------------
If the run failed, this warning is not why: read on to the traceback. `module 'torch.amp' has no attribute 'GradScaler'`
is the opposite, new code on a torch older than 2.3.

Sources
-------
- `torch.amp`: https://docs.pytorch.org/docs/stable/amp.html
- Release notes of 2.4: https://github.com/pytorch/pytorch/releases/tag/v2.4.0
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from snellen.core.finding import Edit, Fix, FixSafety, Level
from snellen.core.log import Log, LogLine, LogMatch
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, Import, SourceFile, Span

__all__ = ["RULE"]

_WARNED = re.compile(
    r"(?:^(?P<path>[^\s:][^\n]{0,300}?\.py|<[\w -]{1,60}>|[A-Za-z]:[^\n]{1,300}?\.py):(?P<line>\d+): )?"
    r"(?:Future|Deprecation)Warning: `?torch\.(?:(?P<device>cuda|cpu)\.amp\.(?P<name>\w+)|(?P<function>\w*autocast\w*))"
    r"(?:\([^`]{0,60}\))?`? is deprecated"
)
_TROUBLE = re.compile(
    r"\b(?:error|exception|traceback|killed|aborted|core dumped|segmentation fault|failed|out of memory|could not"
    r"|cannot|unable|no such|not found|nan|hangs?|stuck)\b|Error\b",
    re.IGNORECASE,
)
_MOST_LINES = 60
"""Of a longer log the warning is not the point."""
_FIRST = (2, 4)


def _examine(log: Log) -> LogMatch | None:
    found = [(line, match) for line in log.lines if (match := _WARNED.search(line.text))]
    if not found or log.exceptions or log.total_lines > _MOST_LINES or len(log.metrics) >= 3:
        return None
    numbers = {line.number for line, _ in found}
    rest = [line for line in log.lines if line.number not in numbers and line.number - 1 not in numbers]
    bad = any(not math.isfinite(value) for record in log.metrics for value in record.values.values())
    if bad or any(_TROUBLE.search(line.text) for line in rest):
        return None
    line, match = found[0]
    names = sorted({_old_name(match) for _, match in found})
    old = " and ".join(f"`{name}`" for name in names)
    cause = f"{old} {'are old names' if len(names) > 1 else 'is an old name'}"
    where = f", called in {match['path']}:{match['line']}" if match["path"] else ""
    fix = _fix(match, _code_after(log, line))
    return LogMatch(
        0.7, tuple(line.evidence for line, _ in found[:4]), f"{cause}{where}. The run itself is not harmed.", fix
    )


def _old_name(match: re.Match[str]) -> str:
    return f"torch.{match['device']}.amp.{match['name']}" if match["name"] else f"torch.{match['function']}"


def _code_after(log: Log, line: LogLine) -> str:
    """The line of code that Python prints below a warning."""
    after = next((other.text.strip() for other in log.lines if other.number == line.number + 1), "")
    return after if "(" in after and len(after) < 200 else ""


def _fix(match: re.Match[str], code: str) -> Fix:
    path = (match["path"] or "").replace("\\", "/")
    device = match["device"] or "cuda"
    new = f"torch.amp.{match['name'] or 'autocast'}({device!r}, ...)"
    package = re.search(r"(?:site|dist)-packages/(\w+)", path)
    if "torch/hub/" in path:
        return Fix(
            "The code is torch.hub's cached copy: load it anew with `torch.hub.load(..., force_reload=True)`. The "
            "warning may be ignored until then."
        )
    if package:
        name = package[1]
        return Fix(f"Not your code: upgrade {name}, or ignore the warning.", command=f"pip install --upgrade {name}")
    written = f" instead of `{code}`" if code else ""
    return Fix(f"Write `{new}`{written}; positional arguments become `enabled=` and `dtype=`.")


def _probe(_log: Log, here: Here) -> Answer:
    version = here.version("torch")
    numbers = re.match(r"(\d+)\.(\d+)", version or "")
    if numbers is None:
        return Answer(Outcome.CANNOT_TELL, "torch is not installed here")
    if (int(numbers[1]), int(numbers[2])) >= _FIRST:
        return Answer(Outcome.CONFIRMED, f"torch {version} warns of the old names, as every version from 2.4 on")
    return Answer(Outcome.REFUTED, f"torch {version} is older than the warning, which came with 2.4")


_CONVERTED = ("autocast", "GradScaler", "custom_fwd", "custom_bwd")
_MODULE = re.compile(r"torch\.(?P<device>cuda|cpu)\.amp(?:\.(?:autocast_mode|grad_scaler))?")
_OLD = re.compile(rf"{_MODULE.pattern}\.(?P<name>{'|'.join(_CONVERTED)})")
_POSITIONS = ("enabled", "dtype", "cache_enabled")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    uses = [use for use in _uses(file) if not _provided_for(file, use[2]["name"])]
    for span, callee, match, call in uses:
        statement = _statement(file, callee)
        if statement is not None and _guarded(file, statement.line):
            continue
        name, device = match["name"], match["device"]
        shared = [use for use in uses if statement is not None and _statement(file, use[1]) is statement]
        edits = _edits(file, statement, shared or [(span, callee, match, call)])
        new = f'torch.amp.{name}({"device_type=" if name.startswith("custom") else ""}"{device}", ...)'
        message = f"`torch.{device}.amp.{name}` is deprecated since torch 2.4; its place is `torch.amp`"
        if not edits:
            yield Hit(message, span, Fix(f"Write `{new}`."))
            continue
        compared = any(re.search(r"isinstance\([^()]{0,80}GradScaler", other.text) for other in file.elsewhere)
        changed = compared or re.search(r"set_autocast|torch\.jit\b", file.text) is not None
        safety = FixSafety.UNSAFE if changed else FixSafety.SAFE
        reason = (
            "the project asks for the old class elsewhere, or sets autocast's defaults"
            if changed
            else "the old name hands these very arguments on to the new one"
        )
        yield Hit(message, span, Fix(f"Write `{new}`.", safety, reason, edits=edits))


def _uses(file: SourceFile) -> Iterator[tuple[Span, str, re.Match[str], CallSite | None]]:
    """Every call of an old name, and every decorator without brackets: place, name as written, what it means."""
    for call in file.calls:
        match = _OLD.fullmatch(call.name)
        if match and not any(re.search(r"version|hasattr|TORCH", test) for test in call.conditions):
            yield call.span, call.code.partition("(")[0], match, call
    lines = file.text.split("\n")
    for function in file.functions:
        for number in range(function.span.start_line - 1, max(0, function.span.start_line - 6), -1):
            found = re.fullmatch(r"(\s*)@([\w.]+)\s*", lines[number - 1])
            if found is None:
                break
            root, _, rest = found[2].partition(".")
            match = _OLD.fullmatch(".".join(filter(None, (file.imports.get(root, root), rest))))
            if match and match["name"].startswith("custom"):
                start = len(found[1]) + 1
                yield Span(number, start, number, start + len(found[2])), found[2], match, None


def _statement(file: SourceFile, callee: str) -> Import | None:
    """The import that a name as written comes from; `None` for `torch.cuda.amp.autocast` in full."""
    root = callee.partition(".")[0]
    meaning = file.imports.get(root, root)
    if meaning == "torch":
        return None
    for statement in file.imported:
        whole = meaning == statement.module and not statement.names
        if whole or any(meaning == f"{statement.module}.{name}" for name in statement.names):
            return statement
    return None


def _provided_for(file: SourceFile, name: str) -> bool:
    """Whether the file takes the new name where there is one and the old one else."""
    both = any(call.name in (f"torch.amp.{name}", f"torch.amp.grad_scaler.{name}") for call in file.calls)
    return both and re.search(r"hasattr|version|except\b|TORCH_|parse\(", file.text, re.IGNORECASE) is not None


def _guarded(file: SourceFile, line: int) -> bool:
    """Whether an import stands under `try`, `except` or `if`: then both names are already provided for."""
    lines = file.text.split("\n")[:line]
    indent = len(lines[-1]) - len(lines[-1].lstrip())
    above = (text for text in reversed(lines[:-1]) if text.strip() and len(text) - len(text.lstrip()) < indent)
    return re.match(r"\s*(?:try|except|finally|if|elif|else)\b", next(above, "")) is not None


def _only_called(file: SourceFile, callees: list[str]) -> bool:
    """Whether the names that an import brings are called wherever they stand, never handed on."""
    text = re.sub(r"#[^\n]*", "", file.text)
    for name in {callee for callee in callees if "." not in callee}:
        stands = len(re.findall(rf"(?<![\w.]){name}\b(?!\s*=)", text))
        if stands > callees.count(name) + 1:
            return False
    return True


def _edits(
    file: SourceFile, statement: Import | None, uses: list[tuple[Span, str, re.Match[str], CallSite | None]]
) -> tuple[Edit, ...]:
    """The changes of an import and of all that is called by it; none when they cannot be written."""
    edits: list[Edit] = []
    if statement is not None:
        edit = _new_import(file, statement)
        if edit is None or not _only_called(file, [callee for _, callee, _, _ in uses]):
            return ()
        edits.append(edit)
    for span, callee, match, call in uses:
        start = (span.start_line, span.start_column)
        if statement is None:
            module = callee[: -len(match["name"])]
            new = re.sub(r"\.(?:cuda|cpu)\.amp(?:\.\w+)*\.$", ".amp.", module)
            edits.append(file.edit(Span(*start, start[0], start[1] + len(module)), new))
        given = _new_arguments(file, span, callee, match, call)
        if given is None:
            return ()
        edits.extend(given)
    return tuple(edits)


def _new_import(file: SourceFile, statement: Import) -> Edit | None:
    line = file.text.split("\n")[statement.line - 1]
    if statement.module == "torch.cuda" and statement.names == ("amp",):
        old, new = "torch.cuda", "torch"
        used = set(re.findall(r"\bamp\.(\w+)", file.text.replace("torch.cuda.amp.", "")))
    else:
        found = _MODULE.fullmatch(statement.module)
        old, new = statement.module, "torch.amp"
        used = set(statement.names) if found else {"?"}
        if found and not statement.names:
            alias = next((local for local, name in file.imports.items() if name == statement.module), "?")
            used = set(re.findall(rf"\b{alias}\.(\w+)", file.text))
    column = line.find(old)
    if column < 0 or not used <= set(_CONVERTED) or "\\" in line:
        return None
    return file.edit(Span(statement.line, column, statement.line, column + len(old)), new)


def _new_arguments(
    file: SourceFile, span: Span, callee: str, match: re.Match[str], call: CallSite | None
) -> list[Edit] | None:
    """The device, and names for what was told by its place."""
    device, name = f'"{match["device"]}"', match["name"]
    if call is None:
        return [
            file.edit(Span(span.end_line, span.end_column, span.end_line, span.end_column), f"(device_type={device})")
        ]
    column = span.start_column + len(callee) + 1
    unclear = (
        "\n" in callee or re.search(r"[(,]\s*\*\*", call.code) or any(a.code.startswith("*") for a in call.arguments)
    )
    if unclear or (name.startswith("custom") and any(a.name is None for a in call.arguments)):
        return None
    first = f"device_type={device}" if name.startswith("custom") else device
    opening = Span(span.start_line, column, span.start_line, column)
    if not call.arguments:
        return [file.edit(opening, first)]
    positional = [a for a in call.arguments if a.name is None] if name == "autocast" else []
    if not positional:
        return [file.edit(opening, f"{first}," if call.code[len(callee) + 1] in "\r\n" else f"{first}, ")]
    edits = []
    for position, argument in enumerate(positional[: len(_POSITIONS)]):
        lead = f"{first}, " if position == 0 else ""
        place = Span(*argument.span.start, *argument.span.start)
        edits.append(file.edit(place, f"{lead}{_POSITIONS[position]}="))
    return edits


RULE = Rule(
    slug="deprecated-amp-api",
    family="precision",
    title="Deprecated names of mixed precision",
    level=Level.WARNING,
    log=LogFacet((".amp.", "_autocast_", "autocast"), _examine, _probe),
    source=SourceFacet(("cuda.amp", "cpu.amp", "from torch.cuda import"), _examine_source),
    before=absent("what the run's own code calls is read by the linter"),
    during=absent("a step does not show which names it was written with"),
    module=__name__,
)
