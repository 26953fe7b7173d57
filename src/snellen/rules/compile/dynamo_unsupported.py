"""torch.compile meets Python that it cannot put into a graph.

What happens
------------
`torch._dynamo.exc.Unsupported: ...` in the first call of a compiled model: `Data-dependent branching`, `Failed to trace
builtin operator`, `call_function BuiltinVariable(iter)`, `hasattr ConstDictVariable`. Or the compiler itself stumbles:
`InternalTorchDynamoError`, `AssertionError: lift_tracked_freevar_to_input should not be called on root SubgraphTracer`.
The same model runs without `torch.compile`. On a Python or a system that is too new for the torch that is installed
nothing compiles: `Dynamo is not supported on Python 3.12+`.

Why
---
`torch.compile` runs the function symbolically. Where it meets something that is no tensor operation (printing, timing,
reading a file, PIL and OpenCV, a branch on a tensor's value) it splits the graph and goes on; with `fullgraph=True`, in
`torch.export` and inside gradient checkpointing or another higher-order operator it may not split, and stops.

How to confirm
--------------
The lines after `from user code:` name the place. `torch.compile(model, backend="eager")` fails in the same way when it
is the tracing, and runs when it is the code generation. `torch._dynamo.explain(model)(x)` lists every split.

Fix
---
Move what is not tensor arithmetic out of the compiled function: preprocessing, logging, metrics. Write a branch on
values as `torch.where`. Exclude a helper with `@torch.compiler.disable`. Leave `fullgraph=True` away where a split does
no harm. Compile the blocks of the network rather than the whole of it, and pass `use_reentrant=False` to `checkpoint`.
A newer torch supports more.

When it is something else
-------------------------
`Cannot find a working triton installation` is `triton-missing`; `hit config.recompile_limit` is `recompile-limit`. An
error of shapes or dtypes that the compiler only reports (`Dynamo failed to run FX node with fake tensors`) is there
without it, too: run the model once uncompiled.

Sources
-------
- torch.compile, common graph breaks: https://docs.pytorch.org/docs/stable/compile/programming_model.common_graph_breaks.html
- torch.compile, fullgraph: https://docs.pytorch.org/docs/stable/compile/programming_model.fullgraph_true.html
- torch.compile, troubleshooting: https://docs.pytorch.org/docs/stable/torch.compiler_troubleshooting.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.compiled import Compiled, compiled_functions
from snellen.core.finding import Evidence, Fix, FixSafety, Level, Location
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.logs.messages import find_message
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]

_TYPES = {
    "Unsupported": 0.95,
    "InternalTorchDynamoError": 0.94,
    "UncapturedHigherOrderOpError": 0.94,
    "UserError": 0.9,
    "BackendCompilerFailed": 0.7,
    "InductorError": 0.7,
    "LoweringException": 0.7,
    "TorchRuntimeError": 0.55,
}
"""Exceptions of torch.compile, and how often their text is the cause and not only its bearer."""
_INTERNAL = re.compile(
    r"lift_tracked_freevar_to_input|should not be called on root SubgraphTracer|HigherOrderOperator|SubgraphTracer"
    r"|UserDefinedObjectVariable|torch\._dynamo|NNModuleVariable|SymNodeVariable"
)
_NOT_YET = re.compile(
    r"Dynamo is not supported on Python (?P<dynamo>3\.\d{1,2})"
    r"|torch\.compile is not supported on Python (?P<compile>3\.\d{1,2})"
    r"|Python (?P<python>3\.\d{1,2})\+ not yet supported for torch\.compile"
    r"|(?P<windows>Windows) not yet supported for torch\.compile"
)
_SINCE = {"3.11": "2.1", "3.12": "2.4", "3.13": "2.6", "3.14": "2.10"}
"""The first torch that compiles on each Python."""
_OTHERS = re.compile(
    r"working triton installation|TritonMissing|Triton not found|cache_size_limit|recompile_limit|recompile limit"
    r"|CacheLimitExceeded|out of memory|No space left|C\+\+ compiler|C compiler|cl is not found",
    re.IGNORECASE,
)
_WRAPPED = re.compile(
    r"got (?P<type>\w+)\(['\"](?P<message>[^\n]{1,300})|raised:\s*\n?(?P<raised>\w+(?:Error|Exception)[^\n]{0,300})"
)
_USER_CODE = re.compile(r"^from user code:")
_FRAME = re.compile(r'^\s*File "(?P<path>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
_ADVICE = (
    (
        r"checkpoint|lift_tracked_freevar|wrap_body|tag_activation",
        "gradient checkpointing inside the compiled function",
        "Pass `use_reentrant=False` to `checkpoint`, and compile each block instead of the whole network.",
    ),
    (
        r"optimize_ddp|DDPOptimizer",
        "a higher-order operator where DDP splits the graph",
        "Set `torch._dynamo.config.optimize_ddp = False` before the first step.",
    ),
    (
        r"Data-dependent branching|generic_jump|data-dependent (?:control|expression)|DataDependent",
        "a branch on the value of a tensor",
        "Write it as `torch.where(condition, a, b)` or `torch.cond`, or take it out of the compiled function.",
    ),
    (
        r"Tensor\.item|call_method item|_local_scalar_dense|\.tolist\(\)",
        "a number taken out of a tensor",
        "Keep it a tensor, or set `torch._dynamo.config.capture_scalar_outputs = True`.",
    ),
    (
        r"dynamic shape operator|aten\.nonzero|masked_select|unique2",
        "an operator whose output size depends on values",
        "Set `torch._dynamo.config.capture_dynamic_output_shape_ops = True`, or multiply with the mask instead.",
    ),
    (
        r"backward\(\) call|call_method backward|autograd\.grad\b",
        "a backward pass inside the compiled function",
        "Compile the model, not the training step: `model = torch.compile(model)`.",
    ),
    (
        r"\(Image\)|PIL[./]|cv2|PythonModuleVariable\(<module 'PIL",
        "image preprocessing with PIL or OpenCV",
        "Do the preprocessing before the compiled function, in the dataset; pass tensors in.",
    ),
    (
        r"source code not available|could not get source code|lineno is out of bounds|source code .{0,20}unavailable",
        "code without a source file (a notebook cell, `exec`)",
        "Put the class into a .py file and import it, or upgrade torch.",
    ),
    (
        r"BuiltinVariable\(print\)|builtin operator[\s\S]{0,60}print|call_function[^\n]{0,40}print",
        "a `print`",
        "Remove it, or print after the compiled function.",
    ),
    (
        r"builtin operator|BuiltinVariable|marked as skipped|skip(?:ped|files)|logging\.Logger|trace the builtin",
        "a call that is no tensor operation",
        "Take it out of the compiled function, or put it into a helper under `@torch.compiler.disable`.",
    ),
)


def _examine_log(log: Log) -> LogMatch | None:
    if said := find_message(log, _NOT_YET):
        python = next((said.match[name] for name in ("dynamo", "python", "compile") if said.match[name]), None)
        needed = "2.4" if said.match["windows"] else _SINCE.get(python or "", "the newest")
        where = "Windows" if said.match["windows"] else f"Python {python}"
        cause = f"The torch that is installed cannot compile on {where}."
        command = f"pip install --upgrade 'torch>={needed}' torchvision" if needed[0].isdigit() else None
        return LogMatch(
            0.95,
            said.facts,
            cause,
            Fix(f"`{command or 'upgrade torch'}`, or leave `torch.compile` away.", command=command),
        )
    raised = [(_score(error), n, error) for n, error in enumerate(log.exceptions) if not _OTHERS.search(error.text)]
    # A notebook names the exception above its frames and once more, with the message, below them.
    score, _, error = max(raised, key=lambda item: item[:2], default=(0.0, 0, None))
    return _match(log, error, score) if error is not None and score else None


def _score(error: LoggedException) -> float:
    in_dynamo = any("_dynamo" in frame.path or "_inductor" in frame.path for frame in error.frames)
    if error.name == "UserError":
        return _TYPES["UserError"] if "_dynamo" in error.type or in_dynamo else 0.0
    if error.name in _TYPES:
        return _TYPES[error.name]
    return 0.9 if in_dynamo and error.name == "AssertionError" and _INTERNAL.search(error.text) else 0.0


def _match(log: Log, error: LoggedException, score: float) -> LogMatch:
    place = _user_code(log)
    about = f"{error.text}\n{place[1] if place else ''}\n{' '.join(f'{f.path} {f.code}' for f in error.frames[-6:])}"
    facts = (error.evidence, *((place[0],) if place else ()))
    at = f" at {place[0].location}: `{place[1]}`" if place and place[0].location else ""
    wrapped = _WRAPPED.search(error.message)
    if error.name in ("TorchRuntimeError", "BackendCompilerFailed") and wrapped:
        inner = wrapped["raised"] or f"{wrapped['type']}: {wrapped['message']}"
        cause = f"While compiling{at}, an operation failed: {inner[:160].strip()}."
        text = 'Run the model once without `torch.compile`; if that works, try `backend="aot_eager"` and a newer torch.'
        return LogMatch(score, facts, cause, Fix(text))
    for pattern, what, advice in _ADVICE:
        if re.search(pattern, about):
            return LogMatch(score, facts, f"torch.compile cannot trace {what}{at}.", Fix(advice))
    reason = " ".join(error.message.split())[:120]
    cause = f"torch.compile cannot trace this{at}: {reason}." if reason else f"torch.compile cannot trace this{at}."
    helper = (
        f" with `@torch.compiler.disable` on `{place[2]}`" if place and place[2] not in ("forward", "<module>") else ""
    )
    text = f"Take that line out of the compiled part{helper}, leave `fullgraph=True` away, or upgrade torch."
    return LogMatch(score, facts, cause, Fix(text))


def _user_code(log: Log) -> tuple[Evidence, str, str] | None:
    """The innermost line of the user's code that the compiler names: evidence, code, function."""
    start = next((n for n, line in enumerate(log.lines) if _USER_CODE.search(line.text.strip())), None)
    if start is None:
        return None
    found: tuple[Evidence, str, str] | None = None
    lines = log.lines[start + 1 : start + 80]
    for number, line in enumerate(lines):
        frame = _FRAME.match(line.text)
        if frame is None:
            if not line.text.strip():
                break
            continue
        code = lines[number + 1].text.strip() if number + 1 < len(lines) else ""
        place = Location(frame["path"], int(frame["line"]))
        evidence = Evidence(f"{place} in {frame['function']}: {code}", place)
        if frame["path"].startswith("<eval_with_key>"):
            continue
        if found is None or "site-packages" not in frame["path"]:
            found = evidence, code, frame["function"]
    return found


_BREAKS = frozenset(
    [
        *("print", "input", "open", "breakpoint", "pdb.set_trace", "ipdb.set_trace", "gc.collect", "random.choice"),
        *("time.time", "time.perf_counter", "time.monotonic", "time.sleep", "torch.save", "torch.load"),
        *("logging.info", "logging.debug", "logging.warning", "wandb.log", "PIL.Image.open", "PIL.Image.fromarray"),
        *("cv2.imread", "cv2.imwrite", "cv2.resize", "cv2.cvtColor", "torchvision.utils.save_image", "os.path.exists"),
    ]
)
"""Calls that split the graph in every version of torch up to today's."""
_METHODS = frozenset({".backward", ".add_scalar", ".add_image", ".savefig"})
_ELSEWHERE = re.compile(r"is_compiling|is_exporting|is_tracing|\bdebug\b|verbose", re.IGNORECASE)


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    seen = set()
    for compiled in compiled_functions(file):
        if compiled.fullgraph is None:
            continue
        for call in file.calls_in(compiled.function.span):
            if call.span not in seen and _breaks(call, compiled):
                seen.add(call.span)
                yield _hit(file, call, compiled)


def _breaks(call: CallSite, compiled: Compiled) -> bool:
    if call.function != compiled.function.name or any(_ELSEWHERE.search(condition) for condition in call.conditions):
        return False
    return call.name in _BREAKS or (call.name in _METHODS and not call.contexts)


def _hit(file: SourceFile, call: CallSite, compiled: Compiled) -> Hit:
    flag = compiled.fullgraph
    name = call.name.lstrip(".")
    message = f"`{name}` cannot be part of a graph, and `{compiled.function.name}` is compiled with fullgraph=True"
    fix = Fix(
        f"Take `{name}` out of `{compiled.function.name}`, or leave fullgraph=True away: the graph is then split here.",
        FixSafety.UNSAFE,
        "the function is then compiled in pieces, which can be slower",
        edits=(file.edit(flag.span, "False"),) if flag is not None and flag.code == "True" else (),
    )
    return Hit(message, call.span, fix)


RULE = Rule(
    slug="dynamo-unsupported",
    family="compile",
    title="torch.compile cannot trace this code",
    level=Level.ERROR,
    log=LogFacet(
        (
            "unsupported",
            "dynamo",
            "subgraphtracer",
            "backendcompilerfailed",
            "inductorerror",
            "torch.compile",
            "loweringexception",
        ),
        _examine_log,
    ),
    source=SourceFacet(("fullgraph",), _examine_source),
    before=absent(
        "what this program compiles is traced whole by its tests, and other code is not traced before it runs"
    ),
    during=absent("tracing fails in the first step, before it ends"),
    module=__name__,
)
