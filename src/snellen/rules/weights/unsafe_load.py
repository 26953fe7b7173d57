"""A file that may come from somebody else is loaded in a way that lets it run code.

What happens
------------
Nothing that is seen. Whoever wrote the file chooses what is executed when it is loaded, with the rights of the one who
loads it: a checkpoint from a forum can read keys and delete data, and still give working weights.

Why
---
A pickle is a program for a small machine that may call any function. `torch.load` with `weights_only=False`, and
without the argument before PyTorch 2.6, `pickle.load`, `joblib.load`, `numpy.load(..., allow_pickle=True)` and
`yaml.load` with PyYAML's `Loader` or `UnsafeLoader` all run it.

How to confirm
--------------
`python -m pickletools file.pkl | grep -E "GLOBAL|STACK_GLOBAL|REDUCE"` lists what a pickle calls;
`torch.serialization.get_unsafe_globals_in_checkpoint("model.pt")` what a checkpoint would import beyond tensors.

Fix
---
`torch.load(path, weights_only=True)`; classes that you know with `torch.serialization.add_safe_globals`. Better,
safetensors, which holds nothing but tensors. `yaml.safe_load`. NumPy arrays without `dtype=object`, which need no
pickle. Where a pickle is needed, compare a checksum that you got from elsewhere before loading.

When it is something else
-------------------------
Files that the same project has written and nobody else can change are no stranger's: the rule leaves a pickle alone
where the project writes pickles itself. A checkpoint that torch.load refuses is `weights-only-load`.

Sources
-------
- `torch.load`, the warning: https://docs.pytorch.org/docs/stable/generated/torch.load.html
- `pickle`, the warning: https://docs.python.org/3/library/pickle.html
- `numpy.load`, `allow_pickle`: https://numpy.org/doc/stable/reference/generated/numpy.load.html
- PyYAML, `yaml.load`: https://github.com/yaml/pyyaml/wiki/PyYAML-yaml.load(input)-Deprecation
- safetensors: https://huggingface.co/docs/safetensors/index
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.checkpoints import used_as_module
from snellen.core.finding import Edit, Evidence, Finding, Fix, FixSafety, Level
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, SourceFacet, absent
from snellen.core.source import UNKNOWN, Argument, CallSite, Hit, Origin, SourceFile, Span

__all__ = ["RULE"]

_PICKLES = {
    f"{module}.{name}": module
    for module in ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib")
    for name in ("load", "loads", "Unpickler")
} | {"pandas.read_pickle": "pandas", "numpy.load": "numpy"}
_WRITES = {
    "pickle": re.compile(r"\bc?[pP]ickle\.dumps?\(|\bpkl\.dump\(|\bdump\("),
    "joblib": re.compile(r"\bjoblib\.dump\(|\bdump\("),
    "pandas": re.compile(r"\.to_pickle\("),
    "numpy": re.compile(r"\b(?:np|numpy)\.savez?(?:_compressed)?\("),
}
_NETWORK = frozenset(
    (
        *("requests.get", "requests.post", "urllib.request.urlopen", "urllib.request.urlretrieve", "urllib2.urlopen"),
        *("huggingface_hub.hf_hub_download", "huggingface_hub.cached_download", "huggingface_hub.snapshot_download"),
        *("gdown.download", "wget.download", "httpx.get", "socket.socket", "torch.hub.download_url_to_file"),
    )
)
_IN_MEMORY = frozenset({"io.BytesIO", "BytesIO"})
_BUFFER = re.compile(r"\b(?:buf(?:fer)?|stream|bio|bytes_io|fileobj)\b|BytesIO\(", re.IGNORECASE)
_BUNDLED = re.compile(r"__file__|getfile\(|importlib\.resources|pkg_resources|resource_filename")
_CHECKPOINT = re.compile(
    r"ckpt|check_?point|weight|pretrain|resume|snapshot|state_?dict|model|\.pth|\.pt\b|\.bin\b|backbone|\bnet|best|resume"
    r"|finetune|params",
    re.IGNORECASE,
)
_STATE = re.compile(
    r"^(?:\w*_)?(?:state|sd|state_dict|ckpt|checkpoint|weights?|params|pretrained\w*|loaded)\d?$", re.IGNORECASE
)
_UNSAFE_LOADERS = re.compile(r"(?:^|\.)C?(?:UnsafeLoader|Loader)$")


def _examine(file: SourceFile) -> Iterator[Hit]:
    for call in file.calls:
        if call.name == "torch.load":
            yield from _of_torch(file, call)
        elif call.name in _PICKLES:
            yield from _of_pickle(file, call)
        elif call.name in ("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all"):
            yield from _of_yaml(file, call)


def _from_network(argument: Argument | None) -> str | None:
    """The call that fetched what is loaded, if one did."""
    origin: Origin | None = argument.origin if argument is not None else None
    if origin is not None and origin.name in _IN_MEMORY and origin.call.arguments:
        origin = origin.call.arguments[0].origin
    return origin.name if origin is not None and origin.name in _NETWORK else None


def _of_torch(file: SourceFile, call: CallSite) -> Iterator[Hit]:
    given, path = call.argument(99, "weights_only"), call.argument(0, "f")
    fetched = _from_network(path)
    if path is None or "**" in call.code or (_is_own(file, path) and fetched is None):
        return
    if given is None and not (fetched or _is_checkpoint(file, call, path)):
        return
    if given is not None and given.value is not False:
        return
    whole = used_as_module(file, call)
    if given is None and (whole is not None or _tried_safely(file, call) or call.argument(2, "pickle_module")):
        return
    source = f"what `{fetched}` fetched " if fetched else "the file "
    if given is not None:
        message = f"weights_only=False lets {source}run any code"
        span, text = given.span, "True" if given.name is None else "weights_only=True"
        span = _with_name(file, given) if given.name is not None else span
    else:
        message = f"without weights_only, PyTorch before 2.6 lets {source}run any code"
        last = call.arguments[-1].span
        span, text = Span(last.end_line, last.end_column, last.end_line, last.end_column), ", weights_only=True"
    level = Level.ERROR if fetched else Level.WARNING if given is not None else Level.NOTE
    safe = given is None and _into_state(file, call)
    fix = Fix(
        "Pass `weights_only=True`."
        if whole is None
        else "Save `model.state_dict()`, and load that with `weights_only=True`.",
        FixSafety.SAFE if safe else FixSafety.UNSAFE,
        "it is the default since PyTorch 2.6, and a state dict holds tensors"
        if safe
        else "a file that holds more than tensors and plain containers is refused then",
        edits=(file.edit(span, text),) if whole is None else (),
    )
    yield Hit(message, call.span, fix, level=level)


def _with_name(file: SourceFile, argument: Argument) -> Span:
    """The span of `weights_only=False`, name included."""
    span, lines = argument.span, re.split(r"\r\n|\r|\n", file.text)
    before = lines[span.start_line - 1][: span.start_column]
    found = re.search(r"weights_only\s*=\s*$", before)
    return Span(span.start_line, found.start() if found else span.start_column, span.end_line, span.end_column)


def _is_own(file: SourceFile, path: Argument) -> bool:
    """Whether it is made in memory, or comes with the package itself."""
    origin = path.origin
    if (origin is not None and origin.name in _IN_MEMORY) or _BUFFER.search(path.code):
        return True
    words = set(re.findall(r"[A-Za-z_]\w*", path.code))
    made = " ".join(item.code for item in file.assignments if item.target.removeprefix("self.") in words)
    return _BUNDLED.search(f"{path.code} {made}") is not None


def _is_checkpoint(file: SourceFile, call: CallSite, path: Argument) -> bool:
    value = path.value if path.value is not UNKNOWN else ""
    words = f"{path.code} {value} {call.target or ''}"
    return bool(_CHECKPOINT.search(words) or _STATE.search(call.target or "")) or _into_state(file, call)


def _into_state(file: SourceFile, call: CallSite) -> bool:
    """Whether all that is done with the result is loading it as a state dict."""
    for other in file.calls_to(".load_state_dict"):
        first = other.argument(0, "state_dict")
        if first is not None and first.origin is not None and first.origin.call.span == call.span:
            return True
    return False


def _tried_safely(file: SourceFile, call: CallSite) -> bool:
    """Whether the same function also loads with `weights_only`: this call is for versions that do not know it."""
    others = (other for other in file.calls_to("torch.load") if other.function == call.function and other is not call)
    return any(other.argument(99, "weights_only") is not None or "**" in other.code for other in others)


def _of_pickle(file: SourceFile, call: CallSite) -> Iterator[Hit]:
    module = _PICKLES[call.name]
    data = call.arguments[0] if call.arguments else None
    allowed = call.argument(2, "allow_pickle")
    if data is None or (module == "numpy" and (allowed is None or allowed.value is not True)):
        return
    fetched = _from_network(data)
    written = _WRITES.get(module, _WRITES["pickle"])
    if fetched is None:
        own = any(written.search(part.text) for part in (file, *file.elsewhere))
        if own or _is_own(file, data) or not _named_file(file, data):
            return
    source = f"what `{fetched}` fetched" if fetched else f"`{data.code[:60]}`"
    if module == "numpy" and allowed is not None:
        message = f"allow_pickle=True lets {source} run any code"
        fix = Fix(
            "Save the array with a plain dtype and load it without `allow_pickle`; a dictionary as `.npz` or JSON."
        )
    else:
        message = f"{call.name} lets {source} run any code"
        fix = Fix("Keep tensors as safetensors, tables as JSON or Parquet; or compare a checksum before loading.")
    yield Hit(message, call.span, fix, level=Level.ERROR if fetched else Level.NOTE)


def _named_file(file: SourceFile, data: Argument) -> bool:
    """Whether a file is read, and not bytes that the program was handed from elsewhere in itself."""
    if isinstance(data.value, str) or (
        data.origin is not None and data.origin.name in ("open", "gzip.open", "bz2.open")
    ):
        return True
    opened = rf"open\([^\n]{{0,200}}\)\s+as\s+{re.escape(data.code)}\b"
    return re.search(opened, file.text) is not None or re.search(r"path|file|\.pkl|\.npy|open\(", data.code) is not None


def _of_yaml(file: SourceFile, call: CallSite) -> Iterator[Hit]:
    loader = call.argument(1, "Loader")
    if call.name.startswith("yaml.load"):
        if loader is not None and not _UNSAFE_LOADERS.search(loader.code):
            return
        if loader is None and "**" in call.code:
            return
    document = call.arguments[0] if call.arguments else None
    if document is None:
        return
    name = "safe_load_all" if call.name.endswith("_all") else "safe_load"
    how = (
        "without a Loader"
        if loader is None and ".load" in call.name
        else f"with {loader.code if loader else call.name}"
    )
    prefix = re.match(r"(?P<module>[\w.]{1,80}\.)?(?P<name>\w{1,40})\(", call.code)
    edits: tuple[Edit, ...] = ()
    if prefix is not None and prefix["module"]:
        edits = (file.edit(call.span, f"{prefix['module']}{name}({document.code})"),)
    yield Hit(
        f"PyYAML {how} lets the file run any code",
        call.span,
        Fix(
            f"Write `yaml.{name}({document.code})`.",
            FixSafety.UNSAFE,
            "a file that spells Python objects (`!!python/...`) is refused then",
            edits=edits,
        ),
    )


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    """What unpickling a file of the run would run, read from its instructions."""
    pickled = [weights for weights in plan.fact("weights") if weights.pickle is not None]
    if not pickled:
        raise NotApplicable("the run names no checkpoint that holds a pickle")
    for weights in pickled:
        if weights.pickle.dangerous:
            names = ", ".join(weights.pickle.dangerous[:3])
            yield Finding(
                "unsafe-load",
                Level.ERROR,
                f"{weights.key}: unpickling {weights.path} imports {names}: it is no checkpoint, it runs a program",
                setting_place(plan, weights.key),
                tuple(Evidence(f"it imports {name}") for name in weights.pickle.imports[:20]),
                Fix("Delete it, and fetch the weights from whoever made them, as .safetensors."),
            )


RULE = Rule(
    slug="unsafe-load",
    family="weights",
    title="A loaded file may run code",
    level=Level.WARNING,
    log=absent("what a file did while it was loaded leaves no mark in a log"),
    source=SourceFacet(("torch.load", "load(", "loads(", "read_pickle", "Unpickler"), _examine),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("files are loaded before the first step"),
    module=__name__,
)
