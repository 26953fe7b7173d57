"""Memory grows step by step and never levels off.

What happens
------------
The memory column of the log rises with every report, from the first epoch to the last: `memory: 4120`, `4388`, `4651`,
... or `GPU_mem` of 4.1G, 5.3G, 6.6G. Hours later the run ends with `CUDA out of memory`, or is killed by the system.

Why
---
Something keeps what each step has made. Most often a loss or an output, put into a list or summed, with the graph that
it was computed from: all activations of that step stay. Or predictions of a whole data set stay on the device; a
validation loop builds graphs that nobody needs; a hook, a cache or a logger holds on to tensors. In main memory it is
a list that the data set or a logger fills, or objects that every loader worker copies page by page as it touches them.

How to confirm
--------------
Print `torch.cuda.memory_allocated()` every hundred steps. Allocated that grows is a leak; only reserved that grows is
the allocator adapting to sizes that vary. `torch.cuda.memory._record_memory_history()` and `_dump_snapshot("m.pickle")`
show which line made what is still there.

Fix
---
`loss.item()` or `loss.detach()` where a loss is summed, listed or logged; `.detach().cpu()` for outputs that are kept;
`torch.no_grad()` around validation; metrics reset after each epoch. In main memory, NumPy arrays in place of long
Python lists in the data set, and caches with a limit.

When it is something else
-------------------------
Growth over the first tens or hundreds of steps that then levels off is the warm-up: images of different sizes reach
their largest, cuDNN tries its algorithms, Adam makes its state. Out of memory at the first step is `cuda-oom`. The
same in source is `retain-graph-growth`, `outputs-kept-on-device` and `no-grad-missing`.

Sources
-------
- PyTorch FAQ, "My model reports cuda runtime error(2): out of memory": https://docs.pytorch.org/docs/stable/notes/faq.html
- Understanding CUDA memory usage: https://docs.pytorch.org/docs/stable/torch_cuda_memory.html
"""

from __future__ import annotations

import re
from collections.abc import Callable

from snellen.core.finding import Finding, Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.memory import MemorySeries, growing_memory, memory_series, readable
from snellen.core.rule import DuringFacet, LogFacet, Rule, absent
from snellen.core.step import Action, Step, Verdict

__all__ = ["RULE"]

_ENDED = re.compile(r"out of memory|OutOfMemory|^\s*Killed\s*$|exit code 137|exitcode\s*:?\s*-9", re.IGNORECASE)
_HOST = re.compile(r"\bram\b|rss|uss|cpu|host|process", re.IGNORECASE)
_EVALUATES = re.compile(r"\b(?:val(?:id(?:ation|ate)?)?|test|eval(?:uat\w+)?|predict\w*|infer\w*)\b", re.IGNORECASE)


def _examine(log: Log) -> LogMatch | None:
    series = growing_memory(log)
    if series is not None:
        return _growth(log, series)
    for counted in memory_series(log):
        first, last = counted.values[0], counted.values[-1]
        rising = all(after >= before for before, after in zip(counted.values, counted.values[1:], strict=False))
        if counted.unit == "count" and len(counted.values) > 1 and rising and last >= 1.5 * first and last - first > 50:
            cause = f"The number of live tensors rises from {first:.0f} to {last:.0f}: what earlier steps made is kept."
            evidence = (counted.lines[0].evidence, counted.lines[-1].evidence)
            return LogMatch(0.65, evidence, cause, Fix(_DEVICE))
    return None


_DEVICE = (
    "Look for what outlives the step: `loss.item()` or `.detach()` where losses are summed, listed or logged, "
    "`.detach().cpu()` for outputs that are kept, `torch.no_grad()` around validation. "
    "`torch.cuda.memory._record_memory_history()` shows the line that made what stays."
)
_MAIN = (
    "Look for what is filled step by step: a cache or a list in the data set or the logger. Keep paths and annotations "
    "in NumPy arrays, give caches a limit, and compare with `num_workers=0`."
)


def _growth(log: Log, series: MemorySeries) -> LogMatch:
    first, last, reports = series.values[0], series.values[-1], len(series.values)
    said = [readable(value) if series.unit == "bytes" else f"{value:.6g}" for value in (first, last)]
    cause = f"`{series.name}` grows from {said[0]} to {said[1]} over {reports} reports and does not level off"
    each = (last - first) / (reports - 1)
    if series.total:
        left = max(0, int((series.total - last) / each))
        cause += f"; at this pace the device ({readable(series.total)}) is full after {left} more"
    elif series.unit == "bytes":
        cause += f": {readable(each)} a report"
    ended = next((line for line in log.lines if _ENDED.search(line.text)), None)
    evidence = [series.lines[0].evidence, series.lines[-1].evidence]
    if ended is not None:
        evidence.append(ended.evidence)
    fix = _MAIN if _HOST.search(series.name) else _DEVICE
    if any(_EVALUATES.search(line.text) for line in series.lines) and fix is _DEVICE:
        fix += " It is reported in evaluation: begin with `torch.no_grad()` there."
    score = 0.75 if reports >= 8 else 0.6
    return LogMatch(score + 0.12 if ended is not None else score, tuple(evidence), f"{cause}.", Fix(fix))


_WINDOW = 50
"""Steps between two looks."""
_WINDOWS_IN_A_ROW = 12
_LEAST_GROWTH = 1.2


def _start() -> Callable[[Step], Verdict | None]:
    seen = 0
    first_epoch: int | None = None
    looks: list[tuple[int, int]] = []
    told = False

    def observe(step: Step) -> Verdict | None:
        nonlocal seen, first_epoch, told
        if step.memory_bytes is None or told:
            return None
        first_epoch = step.epoch if first_epoch is None else first_epoch
        seen += 1
        if seen % _WINDOW:
            return None
        if looks and step.memory_bytes <= looks[-1][1]:
            looks.clear()
        looks.append((step.step, step.memory_bytes))
        del looks[:-200]
        # In the first epoch caches fill and every image size is met for the first time: growth is no leak yet.
        if step.epoch == first_epoch or len(looks) <= _WINDOWS_IN_A_ROW or not _steady(looks):
            return None
        told = True
        return _warning(looks)

    return observe


def _steady(looks: list[tuple[int, int]]) -> bool:
    """Whether the memory in use has grown in every window of late, and no slower at the end."""
    values = [value for _, value in looks[-_WINDOWS_IN_A_ROW - 1 :]]
    half = len(values) // 2
    before, after = values[half] - values[0], values[-1] - values[half]
    return values[-1] >= _LEAST_GROWTH * values[0] and after >= 0.8 * before


def _warning(looks: list[tuple[int, int]]) -> Verdict:
    (start, low), (end, high) = looks[0], looks[-1]
    pace = (high - low) / max(1, end - start)
    message = (
        f"memory in use grew in every {_WINDOW} steps from step {start} ({readable(low)}) to step {end} "
        f"({readable(high)}), {pace / 2**20:.2f} MiB a step, and does not level off"
    )
    return Verdict(Action.CONTINUE, Finding("memory-leak", Level.WARNING, message, fix=Fix(_DEVICE)))


RULE = Rule(
    slug="memory-leak",
    family="memory",
    title="Memory grows step by step",
    level=Level.WARNING,
    log=LogFacet(
        (
            *("memory", "max_mem", "max mem", "gpu_mem", "mem:", "mem=", "mib /", "mib/", "rss", "ram:", "ram usage"),
            *("tensors", "vram", "m -- ", "m -> "),
        ),
        _examine,
    ),
    source=absent("its patterns in source are rules of their own: retain-graph-growth and outputs-kept-on-device"),
    before=absent("what a run keeps shows only while it runs"),
    during=DuringFacet(_start),
    module=__name__,
)
