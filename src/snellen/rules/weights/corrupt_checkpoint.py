"""The checkpoint is there, but it is not what was written: cut off, damaged, or another file under its name.

What happens
------------
`RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory`,
`_pickle.UnpicklingError: invalid load key, '<'.`, `EOFError: Ran out of input`, `RuntimeError: unexpected EOF, expected
4233720 more bytes. The file might be corrupted.` or `SafetensorError: Error while deserializing header`. Since PyTorch
2.6 the same file may say `Weights only load failed ... Unsupported operand 60`: 60 is `<`.

Why
---
A download that broke off, a disk that was full or a run that was killed while it saved leave a file without its end; a
zip archive has its table of contents there. A link that leads to a page, not to the file, saves the page: it begins
with `<`. A repository cloned without Git LFS holds pointers of three lines: they begin with `version`. A file saved by
another library (`.h5`, `.onnx`, `.safetensors` under the name of a `.pth`) begins with its own mark.

How to confirm
--------------
`ls -l` shows the size: weights are tens of megabytes, a page or a pointer is not. `head -c 100 model.pth` shows what it
begins with: `PK` is right, `<!DOCTYPE html>` and `version https://git-lfs` are not. `python -m zipfile -t model.pth`
reads it to the end.

Fix
---
Delete the file, in the cache of `torch.hub` too, and fetch it again; compare its checksum where one is published. In a
Git LFS repository: `git lfs install`, then `git lfs pull`. Where your own run wrote it, go back to the checkpoint
before, and save to another name first, then rename.

When it is something else
-------------------------
A file that is not there is `missing-checkpoint`. One that is refused because it holds classes is `weights-only-load`.
A version that the installed PyTorch is too old for says so (`maximum supported version`). A pickle that wants a module
of another project is whole. `EOFError` below `multiprocessing/spawn.py` is the echo of a worker that could not be
started: `unpicklable-worker`.

Sources
-------
- `torch.load`: https://docs.pytorch.org/docs/stable/generated/torch.load.html
- The format of safetensors: https://huggingface.co/docs/safetensors/index#format
- Git Large File Storage: https://git-lfs.com
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from snellen.core.checkpoints import begins_a_pickle, inspect_weights, named_weights
from snellen.core.facts.weights import WeightsFacts
from snellen.core.finding import Finding, Fix, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message, narrowed
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]

_TRIGGERS = (
    *(
        "pytorchstreamreader",
        "invalid load key",
        "unsupported operand",
        "deserializing",
        "unexpected eof",
        "wrong size",
    ),
    *(
        "wrong byte size",
        "was truncated",
        "invalid magic number",
        "git-lfs",
        "invalid hash value",
        "eoferror",
        "zip file",
        "unable to load weights",
        "pytorchfilereader",
    ),
)
_PATHS = (".pt", ".ckpt", ".safetensors", ".bin", ".tar", ".pkl", ".th", ".t7", ".weights", "downloading")
_ZIP = re.compile(
    r"PytorchStreamReader failed reading (?P<what>zip archive|file [\w./\-]{1,200}): (?P<why>[^\n.,\"]{1,80})"
    r"|PytorchStreamReader failed locating file data\.pkl"
)
_KEY = re.compile(r"invalid load key, (?P<key>'(?:\\?[^'\n]{1,4}|')'|\"'\")")
_OPERAND = re.compile(r"Unsupported operand (?P<code>\d{1,3})\b")
_CUT = re.compile(
    r"unexpected EOF, expected (?P<more>\d{1,15}) more bytes|storage has wrong (?:byte )?size: expected"
    r"|pickle data was truncated"
)
_MAGIC = re.compile(r"Invalid magic number; corrupt file\?")
_HEADER = re.compile(
    r"Error while deserializing(?: header)?: (?P<what>HeaderTooLarge|HeaderTooSmall|InvalidHeader\w*"
    r"|MetadataIncompleteBuffer|header too large|header too small|invalid (?:UTF-8|JSON|header)[^\n]{0,60}"
    r"|incomplete metadata[^\n]{0,60})",
    re.IGNORECASE,
)
_LFS = re.compile(
    r"cloned a repository without having git-lfs installed|git-lfs.{0,40}pointer|version https://git-lfs", re.IGNORECASE
)
_HASH = re.compile(r"invalid hash value \(expected \"(?P<expected>\w{1,64})\", got \"(?P<got>\w{1,64})\"\)")
_EMPTY = re.compile(r"Ran out of input")
_BAD_ZIP = re.compile(r"File is not a zip file|BadZipFile|Bad magic number for (?:central directory|file header)")
_TOLD = re.compile(r"unable to load weights from pytorch checkpoint file for", re.IGNORECASE)
_LOADS = re.compile(
    r"torch\.load|load_state_dict|pickle_module\.load|load_checkpoint|checkpoint|ckpt|weights|_legacy_load",
    re.IGNORECASE,
)
_SENDS = re.compile(r"multiprocessing|reduction\.pickle|popen_spawn|spawn\.py")
_WHERE = re.compile(r"Downloading: \"(?P<url>https?://[^\s\"]{1,300})\" to (?P<path>\S{1,300})")


def _examine(log: Log) -> LogMatch | None:
    log = narrowed(log, (*_TRIGGERS, *_PATHS))
    for look in (_by_key, _by_operand, _by_lfs, _by_zip, _by_header, _by_end, _by_hash):
        match = look(log)
        if match is not None:
            return match
    return None


_BEGINNINGS = {
    "<": ("a web page that was saved under its name", "page"),
    "v": ("a Git LFS pointer, not the file", "lfs"),
    "{": ("a JSON file", "other"),
    "\x89": ("a PNG image or an HDF5 (Keras) file", "other"),
    "\xff": ("a JPEG image", "other"),
    "\x1f": ("a gzip archive", "archive"),
    "R": ("a RAR archive", "archive"),
    "7": ("a 7z archive", "archive"),
    "\x00": ("zeros: space was kept for it that was never written", "again"),
    "\x08": ("an ONNX or TensorFlow file", "other"),
    "\n": ("a TensorFlow or text file", "other"),
}


def _begins_with(message: Message, character: str, log: Log, score: float) -> LogMatch:
    kind, way = _BEGINNINGS.get(character, ("no pickle: damaged, or a file of another library", "other"))
    cause = f"{_named(log)} begins with {character!r}: it is {kind}."
    return LogMatch(score, message.facts, cause, _fix(log, way))


def _by_key(log: Log) -> LogMatch | None:
    found = find_message(log, _KEY)
    if found is None:
        return None
    try:
        character = ast.literal_eval(found.match["key"])
    except (ValueError, SyntaxError):
        character = found.match["key"].strip("'")
    if not isinstance(character, str) or not character:
        return None
    loads = found.error is None or _LOADS.search(found.code) or not found.error.frames or named_weights(log)
    return _begins_with(found, character, log, 0.95 if loads else 0.7)


def _by_operand(log: Log) -> LogMatch | None:
    found = find_message(log, _OPERAND)
    if found is None or int(found.match["code"]) > 255 or begins_a_pickle(int(found.match["code"])):
        return None
    return _begins_with(found, chr(int(found.match["code"])), log, 0.98)


def _by_lfs(log: Log) -> LogMatch | None:
    found = find_message(log, _LFS)
    if found is None:
        return None
    return LogMatch(0.96, found.facts, f"{_named(log)} is a Git LFS pointer, not the file.", _fix(log, "lfs"))


def _by_zip(log: Log) -> LogMatch | None:
    found = find_message(log, _ZIP)
    if found is not None:
        why = found.match["why"] or "a part is missing"
        cause = f"{_named(log)} cannot be read as the archive that torch writes: {why}."
        if "central directory" in why:
            cause = f"{_named(log)} has no end: the download or the saving broke off ({why})."
        return LogMatch(0.95 if found.match["what"] else 0.7, found.facts, cause, _fix(log, "again"))
    for error in log.exceptions:
        code = "\n".join(frame.code for frame in error.frames)
        if error.name == "OSError" and "Invalid argument" in error.message and "PyTorchFileReader(" in code:
            cause = f"{_named(log)} is too short to be an archive: the download or the saving broke off."
            return LogMatch(0.9, (error.evidence,), cause, _fix(log, "again"))
    found = find_message(log, _BAD_ZIP)
    if found is None or not (_LOADS.search(found.code) or named_weights(log)):
        return None
    return LogMatch(0.75, found.facts, f"{_named(log)} is no whole zip archive.", _fix(log, "again"))


def _by_header(log: Log) -> LogMatch | None:
    found = find_message(log, _HEADER)
    if found is None:
        return None
    what = found.match["what"].lower()
    if "large" in what or "small" in what:
        cause = (
            f"The first eight bytes of {_named(log)} are no length of a safetensors header: it is a Git LFS pointer, a "
            "web page, or a file that torch.save wrote."
        )
        return LogMatch(0.93, found.facts, cause, _fix(log, "lfs"))
    if "incomplete" in what:
        cause = f"{_named(log)} is shorter than its header promises: it was cut off."
    else:
        cause = f"The header of {_named(log)} is damaged or not that of a safetensors file."
    return LogMatch(0.95, found.facts, cause, _fix(log, "again"))


def _by_end(log: Log) -> LogMatch | None:
    found = find_message(log, _CUT)
    if found is not None and not _SENDS.search(found.code):
        more = found.match["more"]
        missing = f": {int(more):,} bytes are missing" if more else ""
        return LogMatch(0.95, found.facts, f"{_named(log)} was cut off{missing}.", _fix(log, "again"))
    found = find_message(log, _MAGIC)
    if found is not None:
        return LogMatch(0.9, found.facts, f"{_named(log)} was not written by torch.save.", _fix(log, "other"))
    for position, error in enumerate(log.exceptions):
        code = "\n".join(frame.code for frame in error.frames)
        paths = "\n".join(frame.path for frame in error.frames)
        if error.name != "EOFError" or not (_EMPTY.search(error.message) or "torch.load" in code):
            continue
        if not _SENDS.search(code) and not _SENDS.search(paths) and _LOADS.search(code):
            score = 0.92 if position == 0 else 0.6
            return LogMatch(score, (error.evidence,), f"{_named(log)} is empty or ends too early.", _fix(log, "again"))
    found = find_message(log, _TOLD)
    if found is not None and found.first:
        return LogMatch(0.7, found.facts, f"{_named(log)} could not be unpickled.", _fix(log, "again"))
    return None


def _by_hash(log: Log) -> LogMatch | None:
    found = find_message(log, _HASH)
    if found is None:
        return None
    cause = f"The download's checksum begins with {found.match['got'][:8]}, expected was {found.match['expected'][:8]}."
    return LogMatch(0.92, found.facts, cause, _fix(log, "again"))


def _named(log: Log) -> str:
    names = named_weights(log)
    return f"`{names[0]}`" if names else "The checkpoint"


def _fix(log: Log, way: str) -> Fix:
    names = named_weights(log)
    file = f"`{names[0]}`" if names else "the file"
    look = f"head -c 100 '{names[0]}' | cat -v; ls -l '{names[0]}'" if names and "'" not in names[0] else None
    url = next((found["url"] for line in log.lines if (found := _WHERE.search(line.text))), None)
    source = f" from {url}" if url else ""
    if way == "lfs":
        return Fix(
            "Run `git lfs install && git lfs pull` in the cloned folder, or download the file itself.", command=look
        )
    if way == "page":
        text = (
            f"Delete {file} and download the raw file{source}: on GitHub the `raw` link, from Google Drive "
            "`gdown <id>`, from a hub with a token where it asks for one."
        )
        return Fix(text, command=look)
    if way == "archive":
        return Fix(f"Unpack {file} first and give the file inside.", command=look)
    if way == "other":
        return Fix(
            f"Look at what {file} is; read it with the library that wrote it (safetensors: "
            "`safetensors.torch.load_file`), or fetch the checkpoint again.",
            command=look,
        )
    return Fix(
        f"Delete {file} and fetch it again{source}, and compare the size; where your own run wrote it, take the "
        "checkpoint before it.",
        command=look,
    )


def _probe(log: Log, here: Here) -> Answer:
    found = [path for name in named_weights(log) if (path := here.root / Path(name).expanduser()).is_file()]
    if not found:
        return Answer(Outcome.CANNOT_TELL, "the file that the log names is not on this machine")
    facts = inspect_weights("", found[0])
    size = found[0].stat().st_size
    if facts.problem and facts.format != "pickle":
        return Answer(Outcome.CONFIRMED, f"{found[0]}, {size:,} bytes: {facts.problem}")
    if facts.format == "pickle":
        return Answer(Outcome.CANNOT_TELL, f"{found[0]}, {size:,} bytes, is a pickle; only loading would tell")
    return Answer(Outcome.REFUTED, f"{found[0]}, {size:,} bytes, is a whole {facts.format} file")


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    checkpoints = [weights for weights in plan.fact("weights") if weights.exists]
    if not checkpoints:
        raise NotApplicable("the run names no checkpoint that is there")
    for weights in checkpoints:
        place = setting_place(plan, weights.key)
        for level, what, fix in _wrong(weights):
            yield Finding("corrupt-checkpoint", level, f"{weights.key}: {weights.path}: {what}", place, fix=Fix(fix))


def _wrong(weights: WeightsFacts) -> Iterator[tuple[Level, str, str]]:
    """What is wrong with a file by itself; one that only cannot be unpickled is another rule's."""
    if weights.problem and weights.format not in ("pickle", "TorchScript"):
        fix = "Run git lfs pull in the cloned folder." if "LFS" in weights.problem else ""
        yield Level.ERROR, weights.problem, fix or "Fetch it again, or name another file."
    if weights.hash and not weights.hash.startswith(weights.stated_hash):
        what = f"its name states the SHA-256 {weights.stated_hash}..., it has {weights.hash[:8]}..."
        yield Level.ERROR, what, "Delete it and fetch it again: it is damaged, or another file under this name."
    broken = [f"{name} ({what})" for name, what in weights.unusual if "NaN" in what or "infinite" in what]
    if broken:
        what = f"{len(broken)} of the {weights.sampled} tensors that were read hold no finite numbers: {broken[0]}"
        yield Level.ERROR, what, "Take the checkpoint before the loss became NaN: nothing learns from these weights."
    zero = [name for name, what in weights.unusual if what.startswith("all ")]
    if zero and not broken and 2 * len(zero) > weights.sampled:
        what = f"{len(zero)} of the {weights.sampled} tensors that were read hold nothing but zeros: {zero[0]}, ..."
        yield Level.WARNING, what, "It was saved before its weights were gathered or loaded; fetch or save it again."


RULE = Rule(
    slug="corrupt-checkpoint",
    family="weights",
    title="The checkpoint is damaged, or not a checkpoint",
    level=Level.ERROR,
    log=LogFacet(_TRIGGERS, _examine, _probe),
    source=absent("what a file holds is not in the code that reads it"),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("weights are loaded before the first step"),
    module=__name__,
)
