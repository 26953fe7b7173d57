"""A compiled function is compiled again and again until torch.compile gives up.

What happens
------------
The first steps take minutes, then `torch._dynamo hit config.recompile_limit (8)` (before torch 2.6
`config.cache_size_limit`), with the function and the `last reason`. From then on that function runs uncompiled: slower
than without `torch.compile`, and nothing else is said. With `fullgraph=True` it stops:
`torch._dynamo.exc.FailOnRecompileLimitHit`, `CacheLimitExceeded`.

Why
---
Compiled code is valid for what it has seen: shapes, the values of Python numbers and strings, lengths of lists, flags
such as `requires_grad`. A size is made dynamic after its second value; a counter on a module (`self.step += 1`), a list
that grows, a string, or a parameter of another shape in each call are not, and each new value compiles anew.

How to confirm
--------------
`TORCH_LOGS=recompiles python train.py` prints the reason of every recompilation. The `last reason` of the message shows
what differs: `size mismatch at index 1. expected 640, actual 8`, or `self.step == 7`.

Fix
---
Sizes: `torch._dynamo.mark_dynamic(x, 1)` before the call, `torch.compile(model, dynamic=True)`, or pad to a few sizes
and pass `drop_last=True` to the loader. Numbers that change: pass them as tensors, keep counters in buffers or outside
of `forward`. Many different objects through one function, as in an optimiser: raise the limit,
`torch._dynamo.config.recompile_limit = 64`.

When it is something else
-------------------------
An exception `Unsupported` that names no limit is `dynamo-unsupported`. Slow first steps without the message are the
compilation itself.

Sources
-------
- torch.compile, recompilation: https://docs.pytorch.org/docs/stable/compile/programming_model.recompilation.html
- torch.compile, dynamic shapes: https://docs.pytorch.org/docs/stable/torch.compiler_dynamic_shapes.html
- torch.compile, troubleshooting: https://docs.pytorch.org/docs/stable/torch.compiler_troubleshooting.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.compiled import compiled_functions
from snellen.core.finding import Evidence, Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import find_message
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Assignment, CallSite, FunctionBlock, Hit, SourceFile

__all__ = ["RULE"]

_HIT = re.compile(
    r"torch\._dynamo hit (?:config\.)?(?P<limit>(?:accumulated_)?(?:cache_size|recompile)_limit|specialization_limit)"
    r"(?: \((?P<count>\d{1,5})\))?"
)
_RAISED = re.compile(
    r"FailOnRecompileLimitHit|FailOnCacheLimitHit|(?:Cache|Recompile)LimitExceeded|recompile limit exceeded"
    r"|(?:recompile|cache_size)_limit reached"
)
_FUNCTION = re.compile(r"function: '(?P<name>[^']{1,120})' \((?P<place>[^)\n]{1,400})\)")
_REASON = re.compile(r"last reason: (?:\d+/\d+: )?(?P<reason>[^\n]{1,600})")
_SIZE = re.compile(
    r"tensor '?(?P<tensor>[^\s,]{1,120}?)'? (?:size|stride|rank|dtype) mismatch(?: at index (?P<index>\d{1,2}))?[.,:]? "
    r"expected (?P<expected>[^\s,]{1,40}), actual (?P<actual>[^\s,]{1,40})"
)
_VALUE = re.compile(
    r"(?P<what>[A-Za-z_][\w.\[\]'\"]{0,120}) == (?P<value>'[^']{0,60}'|\"[^\"]{0,60}\"|-?[\d.]{1,20}|True|False)"
)
_LENGTH = re.compile(r"len\((?P<what>[^()]{1,120})\) == (?P<value>\d{1,9})")
_GRADIENT = re.compile(r"requires_grad|GLOBAL_STATE changed|grad_mode")
_PARAMETER = re.compile(r"Guard failed on a parameter")
_OBJECT = re.compile(r"___check_obj_id|___check_type_id|ID_MATCH|check_obj_id")


def _examine_log(log: Log) -> LogMatch | None:
    said = find_message(log, _HIT)
    raised = find_message(log, _RAISED)
    if said is None and raised is None:
        return None
    name = said.match["limit"] if said is not None else "recompile_limit"
    function, reason = (_first(log, pattern) for pattern in (_FUNCTION, _REASON))
    facts = [message.evidence for message in (said, raised) if message is not None]
    facts += [found[1] for found in (function, reason) if found]
    # As a warning it lets the run go on: what stopped it then is another matter.
    stopped = [error for error in log.exceptions if not _RAISED.search(error.text)]
    score = 0.96 if raised is not None or not stopped else 0.6
    who = f"`{function[0]['name']}` ({function[0]['place']})" if function else "A function"
    why = " ".join(reason[0]["reason"].split("#")[0].split()) if reason else ""
    what, fix = _explained(why, name)
    count = f" ({said.match['count']})" if said is not None and said.match["count"] else ""
    return LogMatch(score, tuple(facts), f"{who} was compiled anew up to the limit{count}: {what}.", fix)


def _first(log: Log, pattern: re.Pattern[str]) -> tuple[re.Match[str], Evidence] | None:
    return next(((found, line.evidence) for line in log.lines if (found := pattern.search(line.text))), None)


def _explained(reason: str, limit: str) -> tuple[str, Fix]:
    more = f"`torch._dynamo.config.{limit} = 64`"
    if size := _SIZE.search(reason):
        return _other_size(size, more, parameter=_PARAMETER.search(reason) is not None)
    if length := _LENGTH.search(reason):
        what = f"`{_short(length['what'])}` has another length in every call ({length['value']} at last)"
        return what, Fix("Collect outside of the compiled function, or empty the list before the call.")
    if value := _VALUE.search(reason):
        name = _short(value["what"])
        what = f"`{name}` has another value in every call ({value['value']} at last)"
        if value["value"][:1] in "'\"":
            return what, Fix(f"Choose by `{name}` outside of the compiled function, or compile one function per value.")
        text = (
            f"Make `{name}` a tensor (a counter of a module: a buffer), or change it outside of the compiled function."
        )
        return what, Fix(text)
    known = {
        _GRADIENT: ("gradients are switched on and off between calls", "Compile separately for training and inference"),
        _OBJECT: ("it is called with many different objects", "Compile the function once for each object"),
    }
    what, text = next((answer for pattern, answer in known.items() if pattern.search(reason)), (reason, ""))
    text = text or "`TORCH_LOGS=recompiles` prints every reason; keep what differs the same"
    return what or "it was called in too many different ways", Fix(f"{text}, or raise the limit: {more}.")


def _other_size(size: re.Match[str], more: str, *, parameter: bool) -> tuple[str, Fix]:
    name, index = _short(size["tensor"]), size["index"]
    at = f" in dimension {index}" if index else ""
    what = f"`{name}` had {size['actual'].rstrip('.')}{at} where {size['expected']} was compiled for"
    if parameter:
        text = f"Set `torch._dynamo.config.force_parameter_static_shapes = False`, or raise the limit: {more}."
    elif index:
        text = (
            f"`torch._dynamo.mark_dynamic({name}, {index})` before the call, or `dynamic=True`; or bring the inputs to "
            f"a few sizes (`drop_last=True`). Else {more}."
        )
    else:
        text = f"Give the function the same kind of tensor each time, or raise the limit: {more}."
    return what, Fix(text)


def _short(name: str) -> str:
    """`L['p'][0]` as the code has it: `p[0]`; `self._modules['head'].n` as `self.head.n`."""
    plain = re.sub(r"^[LG]\[['\"](\w+)['\"]\]", r"\1", name.strip().strip("'"))
    return re.sub(r"\._(?:modules|parameters|buffers)\[['\"](\w+)['\"]\]", r".\1", plain)


_TRACED = re.compile(r"is_compiling|is_exporting|is_tracing|is_scripting")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    compiled = {item.function.name: item.function for item in compiled_functions(file)}
    for function in _with_parts(file, compiled):
        yield from _counters(file, function)
        yield from _lists(file, function)


def _with_parts(file: SourceFile, compiled: dict[str, FunctionBlock]) -> Iterator[FunctionBlock]:
    """The compiled functions, and the `forward` of modules that a compiled module holds."""
    blocks, waiting, seen = {block.name: block for block in file.functions}, list(compiled), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in blocks:
            continue
        seen.add(name)
        yield blocks[name]
        owner, _, method = name.rpartition(".")
        if method == "forward":
            made = [call.name for call in file.calls if call.function == f"{owner}.__init__"]
            waiting += [f"{part}.forward" for part in made if f"{part}.forward" in blocks]


def _initial(file: SourceFile, function: FunctionBlock, target: str) -> list[Assignment]:
    """What an attribute is given in the constructor, a name at module level."""
    where = f"{function.name.rpartition('.')[0]}.__init__" if target.startswith("self.") else ""
    return [item for item in file.assignments if item.target == target and item.function == where and not item.operator]


def _counters(file: SourceFile, function: FunctionBlock) -> Iterator[Hit]:
    for item in file.assignments:
        changed = item.operator or item.code.replace(" ", "").startswith((f"{item.target}+", f"{item.target}-"))
        if item.function != function.name or not changed or any(_TRACED.search(test) for test in item.conditions):
            continue
        shared = item.target.startswith("self.") or re.search(
            rf"\bglobal\b[^\n]*\b{re.escape(item.target)}\b", function.code
        )
        before = _initial(file, function, item.target) if shared else []
        if before and all(type(start.value) is int for start in before):
            message = f"`{item.target}` changes in every call, and each value compiles `{function.name}` anew"
            text = "Count outside of the compiled function"
            if item.target.startswith("self."):
                text += f", or in a buffer: `self.register_buffer('{item.target[5:]}', torch.zeros(()))`"
            yield Hit(message, item.span, Fix(f"{text}."))


def _lists(file: SourceFile, function: FunctionBlock) -> Iterator[Hit]:
    for call in file.calls_in(function.span):
        if call.method != "append" or call.function != function.name or not (call.receiver or "").startswith("self."):
            continue
        start = _initial(file, function, call.receiver or "")
        if start and all(item.code in ("[]", "list()") for item in start) and not _emptied(file, function, call):
            message = f"`{call.receiver}` is longer in every call, and each length compiles `{function.name}` anew"
            yield Hit(message, call.span, Fix("Return what is collected, or keep it outside of the compiled function."))


def _emptied(file: SourceFile, function: FunctionBlock, call: CallSite) -> bool:
    cleared = any(other.receiver == call.receiver and other.method == "clear" for other in file.calls)
    anew = any(item.target == call.receiver and item.function == function.name for item in file.assignments)
    return cleared or anew or any(_TRACED.search(test) for test in call.conditions)


RULE = Rule(
    slug="recompile-limit",
    family="compile",
    title="torch.compile gives up after too many recompilations",
    level=Level.WARNING,
    log=LogFacet(("recompile", "cache_size_limit", "cachelimit", "specialization_limit"), _examine_log),
    source=SourceFacet(("compile",), _examine_source),
    before=absent("a run of this program compiles crops of one shape"),
    during=absent("a step does not tell what was compiled in it"),
    module=__name__,
)
