"""Which names a pickle may import: those that `torch.load(weights_only=True)` takes, and those that run things."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_allowed", "is_dangerous"]

_ALLOWED_NAMES: Final = frozenset(
    (
        "_codecs.encode",
        "builtins.bytearray",
        "builtins.complex",
        "builtins.set",
        "__builtin__.bytearray",
        "__builtin__.complex",
        "__builtin__.set",
        "collections.Counter",
        "collections.OrderedDict",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "torch.storage.TypedStorage",
        "torch.storage.UntypedStorage",
        "torch._tensor._rebuild_from_type_v2",
    )
)
_ALLOWED: Final = re.compile(
    r"torch\._utils\._rebuild_(?:tensor(?:_v[23])?|parameter(?:_with_state)?|sparse_tensor|qtensor|nested_tensor"
    r"|meta_tensor_no_storage|device_tensor_from_(?:numpy|cpu_tensor)|wrapper_subclass)"
    r"|torch\.(?:cuda\.)?\w+Storage|torch\.(?:cuda\.)?(?:sparse\.)?[A-Z]\w*Tensor"
    r"|torch\.(?:b?float\d\w*|u?int\d+|bool|complex\d+|qu?int\w+|bits\w+|per_(?:tensor|channel)_\w+)"
)
"""As torch 2.6 and newer has them; names that only a newer torch takes are counted as foreign."""

_DANGEROUS: Final = re.compile(
    r"(?:os|posix|nt|subprocess|pty|commands|shutil|socket|ctypes|runpy|code|codeop|webbrowser|importlib|imp"
    r"|pickle|_pickle|cPickle|marshal|sys|asyncio|http|urllib|requests|ftplib|smtplib|pip|timeit|pdb|bdb|doctest|cProfile"
    r"|profile|distutils|zipimport|dill|cloudpickle|joblib)\..*"
    r"|(?:builtins|__builtin__)\.(?:eval|exec|execfile|compile|open|input|file|getattr|setattr|__import__|globals|vars"
    r"|apply|breakpoint|delattr)"
    r"|types\.(?:FunctionType|CodeType)|operator\.(?:attrgetter|methodcaller)"
    r"|torch\.(?:hub|load|jit\.load|serialization\.load|utils\.cpp_extension)(?:\..*)?"
    r"|numpy\.(?:testing|f2py|distutils)\..*"
)


def is_allowed(name: str) -> bool:
    """Whether `torch.load(weights_only=True)` takes a name without being told to.

    Example:
        >>> is_allowed("collections.OrderedDict"), is_allowed("numpy.dtype")
        (True, False)
    """
    return name in _ALLOWED_NAMES or _ALLOWED.fullmatch(name) is not None


def is_dangerous(name: str) -> bool:
    """Whether a name runs commands, code or reaches files and networks when a pickle calls it.

    Example:
        >>> is_dangerous("posix.system"), is_dangerous("numpy.dtype"), is_dangerous("builtins.eval")
        (True, False, True)
    """
    return _DANGEROUS.fullmatch(name) is not None
