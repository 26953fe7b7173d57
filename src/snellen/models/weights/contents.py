"""From what a pickle describes to the names, shapes and dtypes of the tensors in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from snellen.core.facts.weights import TensorEntry
from snellen.models.weights.pickles import Call, Global, Persistent

__all__ = ["WRAPPERS", "Contents", "Stored", "contents_of", "shared_prefix"]

WRAPPERS: Final = (
    *(
        "state_dict",
        "model_state_dict",
        "model",
        "params",
        "params_ema",
        "net",
        "network",
        "teacher",
        "student",
        "module",
    ),
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema", "weights", "generator", "g_ema"),
)
"""Keys that state dicts are found under, the likeliest first."""
_PREFIXES: Final = (
    *(
        "module.",
        "_orig_mod.",
        "model.",
        "backbone.",
        "encoder.",
        "net.",
        "network.",
        "student.",
        "teacher.",
        "state_dict.",
    ),
    *("ema_model.", "_fsdp_wrapped_module.", "_forward_module.", "_module.", "base_model.", "feature_extractor."),
)
_MOST_TENSORS = 200_000
_DEEPEST = 60
_STORAGE_DTYPES: Final = {
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "DoubleStorage": "float64",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor's numbers stand.

    Args:
        entry: Name, shape, dtype.
        storage: Name of the storage in the archive, `""` when it is not known.
        offset: Of its first number in the storage, in numbers.
    """

    entry: TensorEntry
    storage: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Contents:
    """What a checkpoint holds.

    Args:
        tensors: Of the state dict.
        wrapper: Key under which it was found, `""` for the top.
        others: The other keys of the top.
        whole_model: Class of the model that was pickled as an object, `""` for a state dict.
    """

    tensors: tuple[Stored, ...] = ()
    wrapper: str = ""
    others: tuple[str, ...] = ()
    whole_model: str = ""


def contents_of(value: Any) -> Contents:
    """The state dict in what a pickle describes, wherever it stands."""
    top = _mapping(value)
    if top is None or _is_module(value):
        whole = value.what if isinstance(value, Call) else ""
        return Contents(tuple(_walk(value)), whole_model=whole)
    direct = [(str(name), tensor) for name, item in top.items() if (tensor := _tensor(item)) is not None]
    keys = [str(name) for name in top]
    if len(direct) * 2 >= len(top) and direct:
        names = {name for name, _ in direct}
        tensors = tuple(_named(name, tensor) for name, tensor in direct[:_MOST_TENSORS])
        return Contents(tensors, "", tuple(key for key in keys if key not in names)[:20])
    best = _best(top)
    if best is None:
        tensors = tuple(_named(name, tensor) for name, tensor in direct)
        return Contents(tensors, "", tuple(keys[:20]))
    wrapper, tensors, whole = best
    return Contents(tensors, wrapper, tuple(key for key in keys if key != wrapper)[:20], whole)


def shared_prefix(names: list[str]) -> str:
    """What wrappers have put in front of every name, as often as they did.

    Example:
        >>> shared_prefix(["module.model.conv.weight", "module.model.fc.bias"])
        'module.model.'
    """
    prefix = ""
    while names:
        found = next((one for one in _PREFIXES if all(name.startswith(prefix + one) for name in names)), "")
        if not found:
            break
        prefix += found
    return prefix


def _best(top: Mapping[Any, Any]) -> tuple[str, tuple[Stored, ...], str] | None:
    """The entry of the top that holds the model: by its key, else by the number of its tensors."""
    candidates: list[tuple[int, int, str, tuple[Stored, ...], str]] = []
    for key, item in list(top.items())[:200]:
        if str(key).startswith(("optim", "scheduler", "scaler")):
            continue
        tensors = tuple(_walk(item))
        rank = WRAPPERS.index(str(key)) if str(key) in WRAPPERS else len(WRAPPERS)
        whole = item.what if isinstance(item, Call) and _is_module(item) else ""
        if tensors:
            candidates.append((rank, -len(tensors), str(key), tensors, whole))
    if not candidates:
        return None
    found = min(candidates, key=lambda one: one[:2])
    return found[2], found[3], found[4]


def _mapping(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, dict):
        return value
    return value.items if isinstance(value, Call) and value.items else None


def _is_module(value: Any) -> bool:
    """Whether an object has what `torch.nn.Module` has, or what TorchScript keeps of one."""
    if not isinstance(value, Call) or not isinstance(value.state, dict):
        return False
    return "_modules" in value.state or value.what.startswith("__torch__.")


def _walk(value: Any) -> Iterator[Stored]:
    """All tensors below, with dotted names; nothing is visited twice, so that loops and repeats cost nothing."""
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    seen: set[int] = set()
    found = 0
    while waiting and found < _MOST_TENSORS:
        name, item, depth = waiting.pop()
        tensor = _tensor(item)
        if tensor is not None:
            found += 1
            yield _named(name, tensor)
            continue
        if id(item) in seen or depth > _DEEPEST:
            continue
        seen.add(id(item))
        below = list(_parts(item))[:_MOST_TENSORS]
        waiting.extend((f"{name}.{key}" if name and key else name or key, part, depth + 1) for key, part in below[::-1])


def _parts(item: Any) -> Iterator[tuple[str, Any]]:
    if _is_module(item):
        for key, part in item.state.items():
            inside = key in ("_parameters", "_buffers", "_modules")
            if inside or (item.what.startswith("__torch__.") and isinstance(part, Call)):
                yield ("" if inside else str(key)), part
        return
    mapping = _mapping(item)
    if mapping is not None:
        yield from ((str(key), part) for key, part in mapping.items() if isinstance(part, (Call, dict)))


@dataclass(frozen=True, slots=True)
class _Tensor:
    shape: tuple[int, ...]
    dtype: str
    storage: str = ""
    offset: int = 0


def _named(name: str, tensor: _Tensor) -> Stored:
    return Stored(TensorEntry(name[:300], tensor.shape, tensor.dtype), tensor.storage, tensor.offset)


def _tensor(item: Any) -> _Tensor | None:
    """The tensor that a call of one of torch's rebuilding functions would make."""
    for _ in range(4):
        if not isinstance(item, Call) or not item.args:
            return None
        function = item.what.rpartition(".")[2]
        if function in ("_rebuild_parameter", "_rebuild_parameter_with_state", "Parameter"):
            item = item.args[0]
        elif function == "_rebuild_from_type_v2" and len(item.args) > 2 and isinstance(item.args[2], tuple):
            item = Call(item.args[0].name if isinstance(item.args[0], Global) else "", item.args[2])
        else:
            break
    if not isinstance(item, Call):
        return None
    function = item.what.rpartition(".")[2]
    if function in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_qtensor"):
        return _rebuilt(item.args)
    if function == "_rebuild_meta_tensor_no_storage" and len(item.args) > 1 and isinstance(item.args[0], Global):
        shape = _shape(item.args[1])
        return None if shape is None else _Tensor(shape, item.args[0].name.rpartition(".")[2])
    return None


def _rebuilt(args: tuple[Any, ...]) -> _Tensor | None:
    if len(args) < 3 or not isinstance(args[0], Persistent):
        return None
    shape = _shape(args[2])
    if shape is None:
        return None
    identity = args[0].identity
    if not isinstance(identity, tuple) or len(identity) < 3:
        return _Tensor(shape, "unknown")
    kind = identity[1].name.rpartition(".")[2] if isinstance(identity[1], Global) else ""
    stated = args[6].name.rpartition(".")[2] if len(args) > 6 and isinstance(args[6], Global) else ""
    dtype = stated or _STORAGE_DTYPES.get(kind, "unknown")
    return _Tensor(shape, dtype, str(identity[2]), args[1] if isinstance(args[1], int) else 0)


def _shape(value: Any) -> tuple[int, ...] | None:
    if isinstance(value, Call) and value.what == "torch.Size" and value.args:
        value = value.args[0]
    if not isinstance(value, (tuple, list)) or len(value) > 32:
        return None
    return tuple(value) if all(isinstance(side, int) and 0 <= side < 2**48 for side in value) else None
