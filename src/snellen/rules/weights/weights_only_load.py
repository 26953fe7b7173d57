"""The checkpoint holds more than tensors, and torch.load refuses to run what is in it.

What happens
------------
`_pickle.UnpicklingError: Weights only load failed.` and, further down, `WeightsUnpickler error: Unsupported global:
GLOBAL numpy.core.multiarray._reconstruct was not an allowed global by default.` The same line worked before PyTorch
was upgraded.

Why
---
A pickle can call any function while it is loaded. Since PyTorch 2.6 `torch.load` reads with `weights_only=True` unless
told otherwise: tensors, plain containers and a short list of classes. A file that was saved with `torch.save(model,
...)`, or that keeps the settings of the run (`argparse.Namespace`, `omegaconf.DictConfig`), NumPy numbers or paths
beside the weights, needs classes that are not on that list.

How to confirm
--------------
`torch.serialization.get_unsafe_globals_in_checkpoint("model.pt")` lists what the file wants, without running it.

Fix
---
Allow the classes that the message names, where you know them: `torch.serialization.add_safe_globals([...])`. Where the
file comes from somebody you trust, `torch.load(path, weights_only=False)`. Your own checkpoints: save
`model.state_dict()` and plain numbers, and every version can load them.

When it is something else
-------------------------
`Unsupported operand 60` or `118` below this message is a web page or a Git LFS pointer, not a pickle:
`corrupt-checkpoint`. A `FutureWarning` about `weights_only=False` from PyTorch 2.4 and 2.5 stops nothing. Names or
shapes that do not fit come after loading: `state-dict-mismatch`.

Sources
-------
- `torch.load`: https://docs.pytorch.org/docs/stable/generated/torch.load.html
- What `weights_only` allows, and how to extend it: https://docs.pytorch.org/docs/stable/notes/serialization.html#weights-only
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.checkpoints import begins_a_pickle, named_weights, used_as_module
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile

__all__ = ["RULE"]

_FAILED = re.compile(
    r"Weights only load failed|WeightsUnpickler error: (?P<why>[^\n]{1,300})|was not an allowed global by default"
    r"|Cannot use ``weights_only=True`` with (?P<what>TorchScript archives|files saved in the legacy \.tar format)"
    r"|Trying to load unsupported GLOBAL "
)
_GLOBAL = re.compile(
    r"(?:Unsupported (?:global: GLOBAL|class) |unsupported GLOBAL |allowlisted via `add_safe_globals` but got <class '"
    r"|unrecognized function <(?:class|function|built-in function|built-in method) '?)(?P<name>[A-Za-z_][\w.]{0,200})"
)
_ALLOW = re.compile(r"add_safe_globals\(\[(?P<name>[A-Za-z_][\w.]{0,200})\]\)")
_BLOCKED = re.compile(r"GLOBAL (?P<name>[\w.]{1,200}) whose module (?P<module>[\w.]{1,120}) is blocked")
_OPERAND = re.compile(r"Unsupported operand (?P<code>\d{1,3})\b")
_ANOTHER = re.compile(
    r"error: [^\n]{0,40}(?:CUDA (?:error|out of memory)|PytorchStreamReader|unexpected EOF|out of memory)"
    r"|weights_only=False` \(the current default"
)
_CALL = re.compile(r"torch\.load\((?P<arguments>(?:[^()]|\([^()]*\)){0,300})\)")
_WHOLE_MODEL = re.compile(
    r"^(?:torch\.nn\.modules|ultralytics\.nn|models?\.|networks?\.|nets?\.|torchvision\.models|timm\.models|mmdet\.)"
    r"|Model$|Net\w*$|\.Sequential$"
)
_SETTINGS = re.compile(r"argparse\.Namespace|omegaconf\.|DictConfig|pathlib\.|easydict|yacs|mmengine\.|box\.")


def _examine(log: Log) -> LogMatch | None:
    found = find_message(log, _FAILED)
    if found is None:
        return None
    text = _text(log, found)
    operand = _OPERAND.search(text)
    if (operand and not begins_a_pickle(int(operand["code"]) % 256)) or _ANOTHER.search(text):
        return None
    cause, fix = _diagnose(found, text)
    return LogMatch(0.97 if found.first else 0.9, found.facts, cause, fix)


def _text(log: Log, found: Message) -> str:
    place = found.evidence.location
    start = place.line or 0 if place is not None else 0
    return "\n".join(line.text for line in log.lines if start <= line.number < start + 20)


def _diagnose(found: Message, text: str) -> tuple[str, Fix]:
    blocked = _BLOCKED.search(text)
    if blocked:
        cause = f"The file wants to run `{blocked['name']}` while it is loaded, which no checkpoint needs."
        fix = "Do not load it with `weights_only=False`. Ask where the file comes from, and fetch the original."
        return cause, Fix(fix)
    loads = _CALL.search(found.code) if found.frame is not None and not found.frame.in_library else None
    trusted = _trusting(loads["arguments"] if loads else None)
    if "TorchScript archives" in text:
        return "The file is a TorchScript archive, not a state dict.", Fix("Read it with `torch.jit.load(path)`.")
    if "legacy .tar format" in text:
        return "The file is in the format of PyTorch 0.1.", Fix(f"If you trust the file, {trusted}; then save it anew.")
    named = _GLOBAL.search(text) or _ALLOW.search(text)
    if named is None:
        cause = "The file holds more than tensors and plain containers, which `weights_only=True` refuses."
        return cause, Fix(f"If you trust the file, {trusted}. Save `model.state_dict()` alone from then on.")
    name = named["name"]
    cause = f"The file holds `{name}`, and since PyTorch 2.6 `torch.load` allows no such class unless told to."
    if name.startswith("ultralytics."):
        fix = f"`pip install -U ultralytics`: newer versions load it. Else, if you trust the file, {trusted}."
    elif name.startswith(("numpy.", "_codecs.")):
        fix = (
            f"If you trust the file, {trusted}; or allow what NumPy needs: `torch.serialization.add_safe_globals("
            "[np.core.multiarray._reconstruct, np.core.multiarray.scalar, np.ndarray, np.dtype, ...])`, class by "
            "class as the message names them. Save plain numbers (`float(x)`) from then on."
        )
    elif _WHOLE_MODEL.search(name):
        fix = (
            f"A whole model was saved, so that every layer's class is wanted: if you trust the file, {trusted}, once, "
            "then save `model.state_dict()` and load that."
        )
    elif _SETTINGS.search(name) or "." in name:
        fix = f"`{_allow(name)}` before loading; or, if you trust the file, {trusted}."
    else:
        fix = f"If you trust the file, {trusted}."
    return cause, Fix(fix)


def _allow(name: str) -> str:
    module, _, last = name.rpartition(".")
    return f"from {module} import {last}; torch.serialization.add_safe_globals([{last}])"


def _trusting(arguments: str | None) -> str:
    """How to say that the file is trusted: at the call, or from outside when a library makes it."""
    if arguments is None:
        return "`torch.load(..., weights_only=False)`, or set `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1` for this run"
    if "weights_only" in arguments:
        return "`weights_only=False`"
    return f"`torch.load({arguments.strip()}, weights_only=False)`"


_UNSAFE = """
import torch
print("UNSAFE", *torch.serialization.get_unsafe_globals_in_checkpoint({path}))
"""


def _probe(log: Log, here: Here) -> Answer:
    paths = [path for name in named_weights(log) if (path := here.root / name).is_file()]
    if paths:
        ran = here.python(_UNSAFE.format(path=repr(str(paths[0]))))
        listed = re.search(r"^UNSAFE(?P<names>[^\n]*)$", ran.output, re.MULTILINE)
        if ran.code == 0 and listed:
            names = listed["names"].split()
            if names:
                return Answer(Outcome.CONFIRMED, f"{paths[0]} wants {', '.join(names[:8])}")
            return Answer(Outcome.REFUTED, f"{paths[0]} wants no class that is not allowed")
    version = here.version("torch")
    found = re.match(r"(\d+)\.(\d+)", version or "")
    if found is None:
        return Answer(Outcome.CANNOT_TELL, "torch is not installed here, and the file is not at hand")
    if (int(found[1]), int(found[2])) < (2, 6):
        return Answer(Outcome.REFUTED, f"torch {version} loads everything unless `weights_only=True` is given")
    return Answer(Outcome.CANNOT_TELL, f"torch {version} refuses such files; the file itself is not at hand")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    """A whole model that is loaded as if PyTorch were older than 2.6."""
    for call in file.calls_to("torch.load"):
        if call.argument(99, "weights_only") is not None or call.argument(2, "pickle_module") is not None:
            continue
        if "**" in call.code or not call.code.endswith(")"):
            continue
        use = used_as_module(file, call)
        if use is None or not call.arguments:
            continue
        last = call.arguments[-1].span
        span = last.__class__(last.end_line, last.end_column, last.end_line, last.end_column)
        yield Hit(
            f"a whole model is loaded (line {use.span.start_line}: `{use.code[:60]}`), which PyTorch refuses since 2.6",
            call.span,
            Fix(
                "Build the model in code and load a state dict into it; or, for a file of your own, pass "
                "`weights_only=False`.",
                FixSafety.UNSAFE,
                "it lets the file run code: right only for a file that you trust",
                edits=(file.edit(span, ", weights_only=False"),),
            ),
        )


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    """Files of the run that the loading of plain tensors refuses, by the names that they would import."""
    pickled = [weights for weights in plan.fact("weights") if weights.pickle is not None]
    if not pickled:
        raise NotApplicable("the run names no checkpoint that holds a pickle")
    for weights in pickled:
        refused = bool(weights.pickle.foreign) or weights.format in ("pickle", "TorchScript")
        if not refused or weights.pickle.dangerous:
            continue
        names = ", ".join(weights.pickle.foreign[:3])
        what = weights.problem or f"it imports {names}"
        yield Finding(
            "weights-only-load",
            Level.ERROR,
            f"{weights.key}: torch.load(weights_only=True) refuses {weights.path}: {what}",
            setting_place(plan, weights.key),
            tuple(Evidence(f"not on torch's list: {name}") for name in weights.pickle.foreign[:20]),
            _fix_of_file(weights.format),
        )


def _fix_of_file(kind: str) -> Fix:
    if kind == "TorchScript":
        return Fix("Once: torch.save(torch.jit.load(file).state_dict(), 'state.pth'), and name state.pth.")
    return Fix(
        "Ask for a file that holds the state dict alone. Where you trust who made it: load it once with "
        "weights_only=False, on a machine without secrets, and save model.state_dict() as .safetensors."
    )


RULE = Rule(
    slug="weights-only-load",
    family="weights",
    title="torch.load refuses what the checkpoint holds beside tensors",
    level=Level.ERROR,
    log=LogFacet(
        ("weights only load failed", "weightsunpickler", "weights_only", "unsupported global"), _examine, _probe
    ),
    source=SourceFacet(("torch",), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("weights are loaded before the first step"),
    module=__name__,
)
