"""Whether a project computes in float16, as far as its text tells."""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.calls import Argument, CallSite, Span
from snellen.core.code.scaling import SCALERS, dtype_of
from snellen.core.code.trails import parts_of
from snellen.core.finding import Evidence, Location
from snellen.core.source import SourceFile

__all__ = ["float16_evidence"]

_AUTOCAST = re.compile(r"^torch\.(?:cuda\.|cpu\.)?(?:amp\.)?(?:autocast_mode\.)?autocast$")
_HALF = re.compile(r"\btorch\.(?:float16|half)\b|^['\"](?:fp16|float16|half|16-mixed|16-true)['\"]$")
_SWITCHES = frozenset({"fp16", "use_fp16", "amp", "use_amp", "half", "use_half", "enable_amp", "fp16_enabled"})
_PRECISION = frozenset({"precision", "mixed_precision", "amp_dtype", "torch_dtype", "dtype", "compute_dtype"})
_NAMES = frozenset({16, "16", "fp16", "float16", "half", "16-mixed", "16-true"})


def float16_evidence(file: SourceFile) -> Evidence | None:
    """The first place of a file, or else of its project, that asks for float16; bfloat16 is none."""
    for part in parts_of(file):
        found = next(_asked(part), None)
        if found is not None:
            text, span = found
            return Evidence(" ".join(text.split())[:120], Location(part.path, span.start_line, span.start_column + 1))
    return None


def _asked(file: SourceFile) -> Iterator[tuple[str, Span]]:
    for setting in file.settings:
        last = setting.key.rpartition(".")[2].lower()
        on = last in _SWITCHES and setting.value is True
        if on or (last in _PRECISION and isinstance(setting.value, (int, str)) and setting.value in _NAMES):
            yield f"{setting.key}: {setting.code}", setting.span
    if not re.search(r"autocast|half|float16|fp16|amp|GradScaler|16", file.text):
        return
    for call in file.calls:
        if _asks(call, file) or any(_told(argument) for argument in call.arguments):
            yield call.code, call.span


def _asks(call: CallSite, file: SourceFile) -> bool:
    if _AUTOCAST.match(call.name):
        enabled = call.argument(99, "enabled") or (call.argument(0, "enabled") if "cuda" in call.name else None)
        off = enabled is not None and enabled.value is False
        # A dtype that the text does not settle may be either.
        return not off and dtype_of(file, call) != "bfloat16"
    if call.method == "half" and call.receiver is not None and not call.arguments:
        return True
    option = call.arguments[0].value if call.method == "add_argument" and call.arguments else None
    asked = isinstance(option, str) and option.lstrip("-").replace("-", "_") in _SWITCHES
    return call.name in SCALERS or asked or (call.method == "autocast" and call.name.startswith("."))


def _told(argument: Argument) -> bool:
    if argument.name in _SWITCHES:
        return argument.value is True
    if argument.name in _PRECISION and isinstance(argument.value, (int, str)) and not isinstance(argument.value, bool):
        return argument.value in _NAMES
    return (
        (argument.name in (None, *_PRECISION)) and _HALF.search(argument.code) is not None and "==" not in argument.code
    )
