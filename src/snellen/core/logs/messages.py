"""Readers of error messages that several rules share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from snellen.core.finding import Evidence
from snellen.core.log import Frame, Log, LoggedException

__all__ = [
    "TOO_MANY_PIXELS",
    "Message",
    "TensorType",
    "called_with",
    "channel_counts",
    "find_message",
    "frameworks",
    "in_loader",
    "loop_owner",
    "lost_worker",
    "narrowed",
    "numbers",
    "stated_workers",
    "tensor_type",
]

_LOOP_OWNERS = frozenset(
    {"mmcv", "mmengine", "lightning", "lightning_fabric", "detectron2", "fastai", "ignite", "composer", "ultralytics"}
)
_INTEGER = re.compile(r"\d{1,12}")
_FRAMEWORK = re.compile(
    r"(?:^|/)(accelerate|transformers|pytorch_lightning|lightning_fabric|lightning|mmcv|mmengine|mmdet|mmseg|mmaction"
    r"|mmpose|mmdet3d|detectron2|fastai|ignite|ultralytics|composer|deepspeed|diffusers|timm)/"
)
_CALL = re.compile(r"(?P<callee>[A-Za-z_][\w.]{0,80})\((?P<argument>[A-Za-z_][\w.]{0,80}(?:\[[^\[\]]{0,30}\])?)\s*[,)]")
_DTYPES = {
    **dict.fromkeys(("float", "float32"), "float32"),
    **dict.fromkeys(("double", "float64"), "float64"),
    **dict.fromkeys(("half", "float16"), "float16"),
    **dict.fromkeys(("byte", "unsigned char", "uint8"), "uint8"),
    **dict.fromkeys(("char", "signed char", "int8"), "int8"),
    **dict.fromkeys(("short", "short int", "int16"), "int16"),
    **dict.fromkeys(("int", "int32"), "int32"),
    **dict.fromkeys(("long", "long int", "long long", "int64"), "int64"),
    **{name: name for name in ("bfloat16", "bool", "uint16", "uint32", "uint64")},
}


@dataclass(frozen=True, slots=True)
class Message:
    """Where a log says something.

    Args:
        match: What was found.
        evidence: The exception or the line that says it.
        error: The exception, `None` when it is only a line, as in a log that was cut.
        first: Whether no other exception stands before it.
    """

    match: re.Match[str]
    evidence: Evidence
    error: LoggedException | None = None
    first: bool = True

    @property
    def frame(self) -> Frame | None:
        """The innermost frame of the user's own code."""
        return self.error.user_frame if self.error is not None else None

    @property
    def facts(self) -> tuple[Evidence, ...]:
        """The message and the line of the user's code that it came from."""
        return (self.evidence,) if self.frame is None else (self.evidence, self.frame.evidence)

    @property
    def code(self) -> str:
        """The code of all frames, one line each, outermost first."""
        return "\n".join(frame.code for frame in self.error.frames) if self.error is not None else ""

    @property
    def place(self) -> str:
        """The line of the user's code, for the end of a sentence: `` in train.py:12: `model(x)` ``; else empty."""
        frame = self.frame
        if frame is None or frame.in_library:
            return ""
        path = f"{frame.path}:{frame.line}" if frame.line else frame.path
        return f" in {path}: `{frame.code}`" if frame.code else f" in {path}"


def find_message(log: Log, pattern: re.Pattern[str]) -> Message | None:
    """The first exception whose text a pattern is found in, else the first line; a line break may count as a blank.

    Example:
        >>> from snellen.core.log import LogLine
        >>> log = Log((LogLine(3, "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x12 and 8x3)"),))
        >>> find_message(log, re.compile(r"[(](.+) and (.+)[)]")).match.groups()
        ('2x12', '8x3')
    """
    for position, error in enumerate(log.exceptions):
        if found := pattern.search(error.text) or pattern.search(" ".join(error.text.split())):
            return Message(found, error.evidence, error, position == 0)
    for line in log.lines:
        if found := pattern.search(line.text):
            return Message(found, line.evidence, first=not log.exceptions)
    return None


def frameworks(frames: Iterable[Frame]) -> tuple[str, ...]:
    """Training frameworks whose code the frames pass through, innermost first, also where a path was cut short.

    Example:
        >>> frameworks([Frame("train.py", 3, "main"), Frame("mmcv/runner/hooks/optimizer.py", 289, "after_train_iter")])
        ('mmcv',)
    """
    found = (match[1] for frame in frames if (match := _FRAMEWORK.search(frame.path.replace("\\", "/"))))
    return tuple(dict.fromkeys(reversed([name.removeprefix("pytorch_") for name in found])))


def loop_owner(frames: Iterable[Frame]) -> str | None:
    """The framework that keeps the order of a training step itself; `None` where the user's own loop does.

    Example:
        >>> loop_owner([Frame("mmcv/runner/hooks/optimizer.py", 289, "after_train_iter")])
        'mmcv'
        >>> loop_owner([Frame("accelerate/optimizer.py", 165, "step")]) is None
        True
    """
    return next((name for name in frameworks(frames) if name in _LOOP_OWNERS), None)


def narrowed(log: Log, literals: Iterable[str]) -> Log:
    """The log with only the lines that hold one of some lower-case literals, for rules that try many patterns.

    Example:
        >>> from snellen.core.log import LogLine
        >>> log = Log((LogLine(1, "Epoch 1"), LogLine(2, "expected Scalar Type Float")))
        >>> [line.number for line in narrowed(log, ["scalar type"]).lines]
        [2]
    """
    wanted = tuple(literals)
    lines = tuple(line for line in log.lines if any(literal in line.text.lower() for literal in wanted))
    return replace(log, lines=lines)


def numbers(text: str) -> tuple[int, ...]:
    """The whole numbers of a printed shape.

    Example:
        >>> numbers("torch.Size([1, 3, 222, 224])"), numbers("4 x 32768")
        ((1, 3, 222, 224), (4, 32768))
    """
    return tuple(int(found[0]) for found in _INTEGER.finditer(text))


def channel_counts(first: int, second: int) -> bool:
    """Whether two sizes that do not fit read as the channels of images: grey, two, RGB or RGBA.

    Example:
        >>> channel_counts(4, 3), channel_counts(64, 3)
        (True, False)
    """
    return first != second and {first, second} <= {1, 2, 3, 4} and 3 in (first, second)


@dataclass(frozen=True, slots=True)
class TensorType:
    """What a message calls a tensor.

    Args:
        dtype: `float32`, `float16`, ...; `None` when the text names none that is known.
        device: `cuda`, `cpu`, `mps`, ...; `None` when the text does not say.
    """

    dtype: str | None
    device: str | None


def tensor_type(text: str) -> TensorType:
    """Read the name of a tensor type as the versions of PyTorch write it.

    Example:
        >>> tensor_type("torch.cuda.HalfTensor")
        TensorType(dtype='float16', device='cuda')
        >>> tensor_type("c10::Half"), tensor_type("CUDADoubleType")
        (TensorType(dtype='float16', device=None), TensorType(dtype='float64', device='cuda'))
    """
    name = text.strip().lower().removeprefix("variable[").removesuffix("]")
    device = next((kind for kind in ("cuda", "mps", "xpu", "npu") if kind in name), None)
    if device is None and (name.startswith(("cpu", "mkl")) or (name.startswith("torch.") and name.endswith("tensor"))):
        device = "cpu"
    word = re.split(r"\.|::", name)[-1].removesuffix("tensor").removesuffix("type")
    word = re.sub(r"^(?:sparse|cpu|cuda|mps|xpu|npu|mkldnn|mkl)+", "", word)
    return TensorType(_DTYPES.get(word), device)


def called_with(code: str) -> tuple[str, str] | None:
    """What a line of code calls with a variable, and that variable.

    Example:
        >>> called_with("pred = model(images.half(), augment=True)") is None
        True
        >>> called_with("pred = model(images, augment=True)")
        ('model', 'images')
    """
    found = _CALL.search(code)
    return (found["callee"], found["argument"]) if found else None


_LOADER_PATH = re.compile(r"torch[\\/]utils[\\/]data[\\/]|data_?loader\w*\.py|collate\w*\.py", re.IGNORECASE)
_LOADER_FUNCTION = re.compile(r"collate|_worker_loop|^fetch$|__getitem__|^_next_data$", re.IGNORECASE)
_WORKERS = re.compile(
    r"\b(?:num_|n_|data_?loader_?num_?)?workers(?:_per_gpu)?['\"]?\s{0,3}[=:]\s{0,3}(\d{1,3})\b", re.IGNORECASE
)


def in_loader(error: LoggedException) -> bool:
    """Whether an exception comes out of a data loader: its worker, its data set or its collate function."""
    frames = error.frames
    if any(_LOADER_PATH.search(frame.path) or _LOADER_FUNCTION.search(frame.function) for frame in frames):
        return True
    return "in DataLoader worker process" in error.message


def stated_workers(log: Log) -> int | None:
    """The number of loader processes that the log says was asked for.

    Example:
        >>> from snellen.core.log import LogLine
        >>> stated_workers(Log((LogLine(1, "Namespace(batch_size=8, num_workers=12)"),)))
        12
    """
    for line in log.lines:
        found = _WORKERS.search(line.text)
        if found and int(found[1]):
            return int(found[1])
    return None


TOO_MANY_PIXELS: Final = re.compile(r"decompression bomb|exceeds limit of|the limit is \d", re.IGNORECASE)
"""What is said of an image that is refused for its size."""

_LOST = re.compile(r"DataLoader worker \(pid\(?s?\)? (?P<pid>\d{1,7})[\d, ]{0,200}\) exited unexpectedly(?! with exit)")


def lost_worker(log: Log) -> tuple[Message, bool] | None:
    """A loader worker that ended without a word, and whether it did so in a container, told by its process number.

    Processes of a container are counted from 1; a machine that has booted is beyond a thousand. `None` as well when
    another exception says more.
    """
    found = find_message(log, _LOST)
    if found is None or any(error.name != "Empty" and not _LOST.search(error.message) for error in log.exceptions):
        return None
    return found, int(found.match["pid"]) < _FIRST_OUTSIDE


_FIRST_OUTSIDE = 1000
