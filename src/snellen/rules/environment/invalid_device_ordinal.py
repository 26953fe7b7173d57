"""A GPU is asked for that the process does not see.

What happens
------------
`RuntimeError: CUDA error: invalid device ordinal` at `torch.cuda.set_device(3)`, `.to("cuda:1")` or the start of a
launcher. Today's torch adds `GPU device may be out of range, do you have enough GPUs?`. The same mistake reads
`Attempting to deserialize object on CUDA device 1 but torch.cuda.device_count() is 1`, `Invalid device id`, `You
requested gpu: [0, 1] But your machine only has: [0]`, NCCL's `Duplicate GPU detected`, and with no GPU at all `No CUDA
GPUs are available` or `Found no NVIDIA driver on your system`.

Why
---
Numbers count the GPUs that the process sees, from 0. With `CUDA_VISIBLE_DEVICES=2` there is one, and it is `cuda:0`.
Launchers start one process for each `--nproc_per_node`, `--num_processes` or `devices=`, and each takes the GPU of its
local rank: more processes than GPUs ask for one too many. Code and checkpoints written on a machine with more GPUs
carry its numbers. A container without `--gpus all`, a cluster job without `--gres=gpu:1` and a notebook without
accelerator see none.

How to confirm
--------------
`python -c "import torch; print(torch.cuda.device_count())"` in the same shell, `echo $CUDA_VISIBLE_DEVICES`, and
`nvidia-smi -L` for what the machine has.

Fix
---
Ask for numbers below that count: `cuda:0` behind `CUDA_VISIBLE_DEVICES=2`, `--nproc_per_node` no larger than the number
of GPUs, `map_location` for a checkpoint of another machine. Set `CUDA_VISIBLE_DEVICES` before the process starts: once
CUDA is in use it has no effect.

When it is something else
-------------------------
`Torch not compiled with CUDA enabled` is `cpu-only-torch`, a driver that is there and too old is `cuda-driver-too-old`.
`device-side assert triggered` is an index out of range in a tensor. `Expected all tensors to be on the same device` is
`device-mismatch`.

Sources
-------
- CUDA, `CUDA_VISIBLE_DEVICES`: https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables
- PyTorch, CUDA semantics: https://docs.pytorch.org/docs/stable/notes/cuda.html
- `torchrun`: https://docs.pytorch.org/docs/stable/elastic/run.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, SourceFile

__all__ = ["RULE"]

_SAID = (
    (0.97, r"invalid device ordinal|CUDA_ERROR_INVALID_DEVICE\b|Invalid device id\b"),
    (
        0.96,
        r"deserialize object on CUDA device (?P<asked>\d{1,2}) but torch\.cuda\.device_count\(\) is (?P<count>\d{1,2})",
    ),
    (0.96, r"device >= 0 && \w{1,12} < num_gpus[\s\S]{0,300}?device=(?P<asked>\d{1,3}), num_gpus=(?P<count>\d{1,3})"),
    (
        0.95,
        r"You requested gpus?: \[(?P<list>[\d, ]{1,60})\]\s{0,4}But your machine only has: \[(?P<has>[\d, ]{1,60})\]",
    ),
    (0.95, r"Invalid CUDA '?(?:--)?device[= ](?P<list>[\d,]{1,40})"),
    (0.97, r"Duplicate GPU detected ?: rank (?P<first>\d{1,4}) and rank (?P<second>\d{1,4}) both on CUDA device"),
    (
        0.85,
        r"No CUDA GPUs are available|no CUDA-capable device is detected|ProcessGroupNCCL is only supported with GPUs",
    ),
    (0.8, r"Found no NVIDIA driver on your system|CUDA driver initialization failed, you might not have a CUDA gpu"),
)
_MESSAGES = tuple((score, re.compile(text, re.IGNORECASE)) for score, text in _SAID)
_NONE_BELOW = 0.86
"""Messages at or below this score say that there is no GPU at all."""
_SEES_SOME = re.compile(r"is_available\(\): True|device_count\(\): [1-9]")
_COUNT = re.compile(r"device_count\(\): (?P<count>\d{1,3})")
_VISIBLE = re.compile(r"CUDA_VISIBLE_DEVICES['\"\]]{0,3}\s?[=:]\s?['\"]?(?P<list>\d{1,2}(?:\s?,\s?\d{1,2}){0,15})\b")
_PROCESSES = re.compile(r"--(?:nproc[_-]per[_-]node|num[_-]processes|num[_-]gpus|gpus|devices)[= ](?P<count>\d{1,3})\b")
_ASKED = re.compile(
    r"cuda:(?P<colon>\d{1,3})|set_device\((?P<set>\d{1,3})\)|\.cuda\((?P<cuda>\d{1,3})\)"
    r"|torch\.device\(['\"]cuda['\"], ?(?P<device>\d{1,3})\)"
)


def _examine_log(log: Log) -> LogMatch | None:
    for score, pattern in _MESSAGES:
        said = find_message(log, pattern)
        if said is None or ("Invalid CUDA" in said.match[0] and log.search(_SEES_SOME.pattern) is None):
            continue
        if score <= _NONE_BELOW:
            return _no_gpu(log, said, score)
        return LogMatch(score, said.facts, *_explained(log, said))
    return None


def _no_gpu(log: Log, said: Message, score: float) -> LogMatch:
    visible = next((found for line in log.lines if (found := _VISIBLE.search(line.text))), None)
    cause = (
        "The process sees no GPU: the machine, the container or the job has none, or `CUDA_VISIBLE_DEVICES` hides it."
    )
    if visible:
        cause = f"`CUDA_VISIBLE_DEVICES={visible['list']}` names no GPU of this machine, so the process sees none."
    text = (
        "`nvidia-smi -L` has to list one. Docker: `--gpus all`; Slurm: `--gres=gpu:1`; a notebook: choose a GPU as "
        "accelerator; else take `torch.device('cuda' if torch.cuda.is_available() else 'cpu')`."
    )
    if visible:
        text = f"Start with `CUDA_VISIBLE_DEVICES=0`, or with a number that `nvidia-smi -L` lists. {text}"
    return LogMatch(score, said.facts, cause, Fix(text))


def _explained(log: Log, said: Message) -> tuple[str, Fix]:
    asked, count = _numbers(log, said)
    processes = next((found for line in log.lines if (found := _PROCESSES.search(line.text))), None)
    visible = next((found for line in log.lines if (found := _VISIBLE.search(line.text))), None)
    if visible:
        listed = [part.strip() for part in visible["list"].split(",")]
        return _behind_the_variable(listed, asked, processes)
    sees = f"sees {count}" if count is not None else "does not see so many"
    if said.match.groupdict().get("first"):
        ranks = f"Ranks {said.match['first']} and {said.match['second']}"
        cause = f"{ranks} share one GPU: more processes were started than the machine has GPUs, or none chose its own."
        text = (
            "Start one process for each GPU that `nvidia-smi -L` lists, and call `torch.cuda.set_device(local_rank)`."
        )
        return cause, Fix(text)
    if "deserialize" in said.evidence.text:
        cause = f"The checkpoint was saved on GPU {asked}, and this process {sees}."
        return cause, Fix('Pass `map_location="cuda:0"` (or `"cpu"`) to `torch.load`.')
    if processes:
        wanted = processes["count"]
        cause = f"{wanted} processes were started, each takes the GPU of its rank, and the machine has fewer."
        return cause, Fix(f"Start as many as `nvidia-smi -L` lists GPUs: replace `{processes[0].strip()}`.")
    which = f"GPU number {asked}" if asked is not None else "A GPU"
    cause = f"{which} is asked for{said.place}, and the process {sees}; numbers start at 0."
    top = f"0 to {count - 1}" if count and count > 1 else "`cuda:0`"
    return cause, Fix(f"Ask for {top}; `nvidia-smi -L` lists the GPUs of the machine.")


def _behind_the_variable(listed: list[str], asked: int | None, processes: re.Match[str] | None) -> tuple[str, Fix]:
    count = len(listed)
    shown = f"`CUDA_VISIBLE_DEVICES={','.join(listed)}` leaves {count} GPU{'s' if count > 1 else ''}, numbered from 0"
    if processes and int(processes["count"]) > count:
        return f"{shown}, and {processes['count']} processes were started.", Fix(
            f"Start {count}: `{_with(processes, count)}`."
        )
    if asked is not None and str(asked) in listed:
        return f"{shown}: physical GPU {asked} is `cuda:{listed.index(str(asked))}` here.", Fix(
            f"Write `cuda:{listed.index(str(asked))}`, or take `CUDA_VISIBLE_DEVICES` away."
        )
    which = f"GPU number {asked} is asked for" if asked is not None else "one with a higher number is asked for"
    return f"{shown}, and {which}.", Fix(
        f"Ask for {'`cuda:0`' if count == 1 else f'0 to {count - 1}'}, or make more GPUs visible."
    )


def _with(found: re.Match[str], count: int) -> str:
    return found[0].replace(found["count"], str(count))


def _numbers(log: Log, said: Message) -> tuple[int | None, int | None]:
    """The GPU that was asked for, and how many there are, as far as the log tells."""
    parts = said.match.groupdict()
    count = int(parts["count"]) if parts.get("count") else len(parts["has"].split(",")) if parts.get("has") else None
    if count is None and (counted := next((c for line in log.lines if (c := _COUNT.search(line.text))), None)):
        count = int(counted["count"])
    if parts.get("asked"):
        return int(parts["asked"]), count
    if parts.get("list"):
        return max(int(part) for part in parts["list"].split(",") if part.strip()), count
    for frame in reversed(said.error.frames if said.error else ()):
        if found := _ASKED.search(frame.code):
            return int(next(part for part in found.groups() if part)), count
    return None, count


def _probe(log: Log, here: Here) -> Answer:
    ran = here.python("import torch; print('sees', torch.cuda.device_count())")
    found = re.search(r"sees (\d+)", ran.output)
    if found is None:
        return Answer(Outcome.CANNOT_TELL, "torch cannot be imported here")
    count, text = int(found[1]), f"this Python sees {found[1]} GPUs"
    said = next((m for _, pattern in _MESSAGES if (m := find_message(log, pattern))), None)
    asked = _numbers(log, said)[0] if said else None
    if asked is None:
        return Answer(Outcome.CONFIRMED if count == 0 else Outcome.CANNOT_TELL, text)
    return Answer(Outcome.CONFIRMED if asked >= count else Outcome.REFUTED, f"{text}; number {asked} was asked for")


_VARIABLE = re.compile(r"""environ\[["']CUDA_VISIBLE_DEVICES["']\]$""")
_IN_SHELL = re.compile(r"^(?:env|set_env)\s+CUDA_VISIBLE_DEVICES\s*=?\s*(?P<list>[\d,]{1,40})\s*$")
_INDEXED = re.compile(r"^cuda:(\d{1,2})$")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    visible = _visible(file)
    if visible is None:
        return
    listed, line, place = visible
    for call in file.calls:
        if call.span.start_line < line:
            continue
        for argument, index in _indices(call):
            if index >= len(listed):
                yield _hit(file, argument, index, listed, place)


def _visible(file: SourceFile) -> tuple[list[str], int, str] | None:
    """The GPUs that the file leaves visible, where it says so once."""
    found: list[tuple[str, int]] = []
    for assigned in file.assignments:
        if _VARIABLE.search(assigned.target):
            if not isinstance(assigned.value, str) or assigned.conditions:
                return None
            found.append((assigned.value, assigned.span.start_line))
    for call in file.calls_to("os.environ.setdefault", "os.putenv", "os.environ.update"):
        if "CUDA_VISIBLE_DEVICES" in call.code:
            return None
    found += [(shell["list"], c.line) for c in file.shell if c.mark == "%" and (shell := _IN_SHELL.match(c.code))]
    if len(found) != 1 or not re.fullmatch(r"\d{1,2}(?:,\s*\d{1,2})*", found[0][0].strip()):
        return None
    text, line = found[0]
    return [part.strip() for part in text.split(",")], line, text


def _indices(call: CallSite) -> Iterator[tuple[Argument, int]]:
    """The GPU numbers that a call names."""
    for argument in call.arguments:
        value = argument.value
        if isinstance(value, str) and (found := _INDEXED.match(value)):
            yield argument, int(found[1])
        elif argument.name in ("device_ids", "output_device") and isinstance(value, tuple):
            numbers = [item for item in value if isinstance(item, int)]
            yield from ((argument, max(numbers)),) if numbers else ()
    numbered = call.name in ("torch.cuda.set_device", "torch.cuda.device") or (call.method == "cuda" and call.receiver)
    first = call.arguments[0] if call.arguments and call.arguments[0].name in (None, "device") else None
    if numbered and first is not None and isinstance(first.value, int) and not isinstance(first.value, bool):
        yield first, first.value
    second = call.argument(1, "index") if call.name == "torch.device" else None
    if second is not None and isinstance(second.value, int):
        yield second, second.value


def _hit(file: SourceFile, argument: Argument, index: int, listed: list[str], place: str) -> Hit:
    count = len(listed)
    left = f"{count} GPU{'s' if count > 1 else ''}, numbered from 0"
    message = f"`CUDA_VISIBLE_DEVICES={place}` leaves {left}; this is number {index}"
    right = listed.index(str(index)) if str(index) in listed else 0
    new = _renumbered(argument, index, right)
    fix = Fix(
        f"Write `{new}`." if new else f"Use numbers below {count}.",
        FixSafety.UNSAFE,
        "where CUDA was in use before the variable was set, it has no effect and the number was right",
        edits=(file.edit(argument.span, new),) if new else (),
    )
    return Hit(message, argument.span, fix)


def _renumbered(argument: Argument, index: int, right: int) -> str:
    if isinstance(argument.value, tuple) or str(index) not in argument.code:
        return ""
    new = re.sub(rf"(?<!\d){index}(?!\d)", str(right), argument.code, count=1)
    return new if re.fullmatch(r"""\d+|["']cuda:\d+["']""", new) else ""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    yield from _hidden(plan, machine)
    wanted = plan.settings.get("devices", "auto")
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        if machine.gpus:
            return
        raise NotApplicable("the run takes the devices that there are")
    if machine.accelerator == "cpu":
        raise NotApplicable("processes on a CPU are not numbered devices")
    if wanted > machine.devices:
        yield Finding(
            "invalid-device-ordinal",
            Level.ERROR,
            f"devices: {wanted}, and {machine.name} has {machine.devices}",
            setting_place(plan, "devices"),
            fix=Fix(
                f"Write devices: {machine.devices}, or auto.",
                FixSafety.UNSAFE,
                "fewer devices make a smaller effective batch",
                settings=(("devices", machine.devices),),
            ),
        )


def _hidden(plan: Plan, machine: MachineFacts) -> Iterator[Finding]:
    """GPUs that are here and that `CUDA_VISIBLE_DEVICES` keeps from programs, by mistake as it seems."""
    if not machine.gpus:
        return
    variable = plan.fact("environment").variables.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return
    seen = sum(gpu.visible for gpu in machine.gpus)
    asked = [part.strip() for part in variable.split(",") if part.strip()]
    if seen >= len(asked) > 0 or (not seen and asked in (["-1"], ["NoDevFiles"])):
        return
    here = f"{len(machine.gpus)} GPU{'s' if len(machine.gpus) > 1 else ''}"
    what = "is empty" if not asked else f"is {variable}: CUDA stops at the first that is not there"
    yield Finding(
        "invalid-device-ordinal",
        Level.ERROR if asked else Level.WARNING,
        f"CUDA_VISIBLE_DEVICES {what}, so programs see {seen or 'none'} of {here}",
        fix=Fix(f"Name numbers from 0 to {len(machine.gpus) - 1}, or unset it.", command="unset CUDA_VISIBLE_DEVICES"),
    )


RULE = Rule(
    slug="invalid-device-ordinal",
    family="environment",
    title="A GPU is asked for that is not there",
    level=Level.ERROR,
    log=LogFacet(
        (
            "invalid device",
            "cuda_error_invalid_device",
            "deserialize object on cuda device",
            "num_gpus=",
            "your machine only has",
            "invalid cuda",
            "duplicate gpu",
            "no cuda",
            "no gpus found",
            "no nvidia driver",
            "might not have a cuda gpu",
        ),
        _examine_log,
        _probe,
    ),
    source=SourceFacet(("CUDA_VISIBLE_DEVICES",), _examine_source),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("devices are chosen before the first step"),
    module=__name__,
)
