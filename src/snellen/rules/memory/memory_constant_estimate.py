"""The memory that a model needs is guessed as a constant.

What happens
------------
A script asks the GPU how much memory it has, and divides by a number: `batch_size = int(free_gb / 0.5)`. On another
card, at another resolution or with another backbone it runs out of memory, or uses a third of the card. Or a warning
"needs 10 GB" appears for models of any size.

Why
---
Memory for training is weights, gradients and optimiser states, which the parameters settle, plus activations, which
grow with batch, height and width and differ by a factor of a hundred between networks. A constant holds for the one
setting in which it was measured, if it was.

How to confirm
--------------
Halve the image size: what is needed falls to about a quarter, the guess does not.

Fix
---
Measure it: one step with batch 1 and one with batch 2, `torch.cuda.reset_peak_memory_stats()` before and
`torch.cuda.max_memory_allocated()` after each. The difference is the memory of one image, the rest is fixed. Then the
batch that fits is `(free - fixed) / per_image`, with a tenth left over.

When it is something else
-------------------------
Conversions of units (`/ 1024**3`), a fraction that is left free (`free * 0.9`), and sizes computed from shapes and
dtypes are no guesses. A threshold that only warns is a matter of taste.

Sources
-------
- `torch.cuda.mem_get_info`: https://docs.pytorch.org/docs/stable/generated/torch.cuda.memory.mem_get_info.html
- `torch.cuda.max_memory_allocated`: https://docs.pytorch.org/docs/stable/generated/torch.cuda.memory.max_memory_allocated.html
- Gao et al., Estimating GPU memory consumption of deep learning models, ESEC/FSE 2020:
  https://doi.org/10.1145/3368089.3417050
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Fix, Level
from snellen.core.rule import Rule, SourceFacet, absent
from snellen.core.source import Assignment, Hit, SourceFile

__all__ = ["RULE"]

_ASKS = re.compile(
    r"\bmem_get_info\(|\.total_memory\b|nvmlDeviceGetMemoryInfo\(|torch\.cuda\.(?:memory_allocated|memory_reserved|"
    r"max_memory_allocated)\(|memoryTotal|memory\.(?:total|free)\b|get_gpu_memory"
)
_COUNTS = re.compile(
    r"(?i)(?:batch|chunk|tile|crop|frames?|images?|samples?|workers|num_|n_|max_|count|patch|clip|views|window)\w*$"
)
_PARAMETERS = re.compile(r"\.numel\(\)|\.element_size\(\)|\.nelement\(\)|num_params|n_params|param_count")
_GUESSED = re.compile(
    r"(?i)(?:^|_)(?:activation|overhead|feature_?map|per_(?:sample|image|frame|pixel|item|batch|crop|patch|tile)|workspace"
    r"|(?:sample|image|frame|pixel|batch)_(?:size_)?(?:mem|memory|gb|mb|bytes))\w*$"
)
_OF_MEMORY = re.compile(r"(?i)(?:gb|gib|mb|mib|bytes|mem|memory|vram|size)(?:_|$)")
_SHAPED = re.compile(
    r"\.shape\b|\.size\(|\.numel\(|element_size|\.nbytes|itemsize|math\.prod|dtype|height|width|\bH\b|\bW\b"
)
_DIVIDED = re.compile(
    r"//?\s*(?P<by>\([\d\s*._e+]{1,60}\)|[A-Za-z_][\w.]*(?![\w.(])|\d[\d_.]*(?:e[+-]?\d+)?(?!\s*\*\*|[\w.]))"
)
_LARGEST_BASE, _DIGITS = 1e15, 200
_UNITS = frozenset(
    (
        *(float(1024**power) for power in (1, 2, 3, 4)),
        *(float(1000**power) for power in (1, 2, 3, 4)),
        *(float(2**power) for power in (10, 20, 30, 40)),
        *(float(part) for part in (1, 2, 4, 8)),
    )
)
"""Divisors that only change the unit, or are the bytes of a number."""


def _examine(file: SourceFile) -> Iterator[Hit]:
    if _ASKS.search(file.text):
        yield from _divisions(file)
    if _PARAMETERS.search(file.text) or _ASKS.search(file.text):
        yield from _terms(file)


def _divisions(file: SourceFile) -> Iterator[Hit]:
    """`batch_size = int(free_gb / 0.5)`: memory of the device divided by a number."""
    passed = (
        Assignment(argument.name, argument.code, argument.span, function=call.function)
        for call in file.calls
        for argument in call.arguments
        if argument.name is not None and "/" in argument.code
    )
    for item in (*file.assignments, *passed):
        counts = _COUNTS.search(item.target) or (item.target == "return" and _counts_something(item))
        if item.operator or not counts or "/" not in item.code:
            continue
        known = _device_memory(file, item.function)
        for found in _DIVIDED.finditer(item.code):
            before = item.code[: found.start()]
            about = _ASKS.search(before) or known & _words(before)
            value = _constant(file, found["by"], item) if about else None
            if value is not None and value not in _UNITS and value > 0:
                share = found["by"].strip("()")
                yield _hit(
                    item, f"`{_short(item)}` takes {share} of the device's memory for each, whatever is computed"
                )
                break


def _counts_something(item: Assignment) -> bool:
    name = item.function.rpartition(".")[2]
    return re.search(r"(?i)batch|chunk|tile|workers|how_many|num_|fits", name) is not None


def _device_memory(file: SourceFile, function: str) -> set[str]:
    """Names that hold memory of the device, in a function or in the file."""
    known: set[str] = set()
    for _ in range(3):
        for item in file.assignments:
            if item.function not in ("", function) or item.target == "return":
                continue
            if _ASKS.search(item.code) or known & _words(item.code):
                known |= {word for word in _words(item.target) if not _COUNTS.search(word) or "mem" in word.lower()}
    return known


def _terms(file: SourceFile) -> Iterator[Hit]:
    """`total = weights + gradients + activations_gb`, where the last is a number that somebody has written down."""
    for item in file.assignments:
        if "+" not in item.code or item.target == "return" or not _OF_MEMORY.search(item.target):
            continue
        words = _words(item.code)
        for guess in file.assignments:
            plain = isinstance(guess.value, (int, float)) and not isinstance(guess.value, bool) and guess.value > 0
            near = guess.function == item.function and guess.span.end <= item.span.start
            if not plain or not near or guess.operator or guess.target not in words or guess.conditions:
                continue
            named = _GUESSED.search(guess.target) and _OF_MEMORY.search(guess.target)
            if named and _computed_terms(file, item, guess.target):
                yield _hit(guess, f"`{guess.target}` is {guess.code} for every model, batch and image size")
                break


def _computed_terms(file: SourceFile, total: Assignment, guess: str) -> bool:
    """Whether what it is added to is computed from the parameters or the device."""
    words = _words(total.code) - {guess}
    for _ in range(3):
        for item in file.assignments:
            if item.function == total.function and item.target in words:
                if _PARAMETERS.search(item.code) or _ASKS.search(item.code):
                    return True
                words |= _words(item.code)
    return False


def _constant(file: SourceFile, code: str, item: Assignment) -> float | None:
    """The number that a divisor is: written there, or held by a name that nothing computes."""
    written = _product(code)
    if written is not None:
        return written
    given = [other for other in file.assignments if other.target == code and other.function in ("", item.function)]
    if len(given) != 1 or _SHAPED.search(given[0].code):
        return None
    value = given[0].value
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _product(code: str) -> float | None:
    """The value of `2 * 1024**3` and the like.

    Example:
        >>> _product("(2 * 1024**3)"), _product("0.5"), _product("x")
        (2147483648.0, 0.5, None)
    """
    value = 1.0
    for factor in re.split(r"(?<!\*)\*(?!\*)", code.strip("() ")):
        found = re.fullmatch(r"\s*(\d[\d_.]*(?:e[+-]?\d{1,2})?)\s*(?:\*\*\s*(\d{1,2}))?\s*", factor)
        if found is None:
            return None
        base, power = float(found[1].replace("_", "").rstrip(".")), int(found[2] or 1)
        if base > _LARGEST_BASE:
            return None
        value *= base**power if power * len(found[1]) < _DIGITS else 0.0
    return value


def _words(code: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", code))


def _short(item: Assignment) -> str:
    text = item.code if item.target == "return" else f"{item.target} = {item.code}"
    return re.sub(r"\s+", " ", text)[:80]


def _hit(item: Assignment, message: str) -> Hit:
    return Hit(
        message,
        item.span,
        Fix(
            "Measure one step with batch 1 and one with batch 2 (`torch.cuda.reset_peak_memory_stats()`, "
            "`torch.cuda.max_memory_allocated()`): the difference is what one image takes, the rest is fixed."
        ),
    )


RULE = Rule(
    slug="memory-constant-estimate",
    family="memory",
    title="Memory is guessed as a constant",
    level=Level.WARNING,
    log=absent("what a wrong guess leads to is a rule of its own: cuda-oom"),
    source=SourceFacet(
        ("mem_get_info", "total_memory", "nvmlDeviceGetMemoryInfo", "memory_allocated", "numel()", "memoryTotal"),
        _examine,
    ),
    before=absent("a run's settings hold sizes, not guesses of memory"),
    during=absent("the guess is made before the first step"),
    module=__name__,
)
