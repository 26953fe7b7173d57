"""The weights that are loaded do not fit the model: other names, or other sizes.

What happens
------------
`RuntimeError: Error(s) in loading state_dict for Net:` followed by `Missing key(s) in state_dict: "conv1.weight",
...`, `Unexpected key(s) in state_dict: "module.conv1.weight", ...` or `size mismatch for fc.weight: copying a param
with shape torch.Size([1000, 512]) from checkpoint, the shape in current model is torch.Size([10, 512])`.

Why
---
A state dict is a list of tensors by name, and names and sizes come from the code that built the model. A wrapper adds
a prefix to every name: `DataParallel` and DDP `module.`, `torch.compile` `_orig_mod.`, a Lightning module the name of
the attribute, such as `model.`. Trainers save a dictionary in which the state dict is one entry among others. Another
number of classes changes the last layer, another image size the position embedding, another variant all the rest.

How to confirm
--------------
Compare `list(state)[:5]` with `list(model.state_dict())[:5]`, and the shapes of the tensors that the message names.

Fix
---
Remove the prefix: `{name.removeprefix("module."): tensor for name, tensor in state.items()}`. Take the right entry:
`checkpoint["state_dict"]`. Build the model for the sizes of the checkpoint; or, to fine-tune with other classes, drop
the entries of the head, load the rest with `strict=False` and look at what it says was missing.

When it is something else
-------------------------
A Segment Anything checkpoint of another size is `sam-variant-mismatch`. A file that cannot be read at all is
`corrupt-checkpoint`, one that is refused because it holds more than tensors `weights-only-load`. Keys that do not fit
and are skipped without an error are `silent-random-weights`.

Sources
-------
- `Module.load_state_dict`: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.load_state_dict
- Saving and loading models: https://docs.pytorch.org/tutorials/beginner/saving_loading_models.html
- `consume_prefix_in_state_dict_if_present`: https://docs.pytorch.org/docs/stable/generated/torch.nn.modules.utils.consume_prefix_in_state_dict_if_present.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.checkpoints import named_weights
from snellen.core.code.training import unwrapped
from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.logs.messages import find_message
from snellen.core.logs.state_dicts import Misfit, SizeMismatch, grid_sides, read_misfit, renaming
from snellen.core.misfits import clash_findings
from snellen.core.plan import Cost
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]

_CONTAINERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "state_dict_ema", "params_ema", "params", "net"),
    *("network", "weights", "generator", "net_state_dict", "model_ema", "ema", "teacher", "student"),
)
_HEAD = re.compile(
    r"(?:^|[._])(?:\w*head\w*|fc\w*|\w*classifier|cls\w*|class\w*|\w*logits?|\w*score|\w*predictor|\w*pred|output\w*|out"
    r"|last_linear|linear|final\w*|\w*proposal\w*|label\w*|conv_seg|bbox\w*)(?:[._]|$)",
    re.IGNORECASE,
)
_POSITION = re.compile(
    r"pos(?:ition(?:al)?)?_?emb|relative_position|rel_pos|attn_mask|position_encoding", re.IGNORECASE
)
_BUFFERS = re.compile(
    r"num_batches_tracked$|position_ids$|relative_position_index$|relative_coords_table$|attn_mask$|total_ops$"
    r"|total_params$|inv_freq$|anchor_grid$|\.anchors$|n_averaged$"
)
_NUMBERED = re.compile(r"^(?P<stem>.{0,120}?)\.(?P<number>\d{1,3})\.")
_SAM = re.compile(r"^\w*sam\w*$", re.IGNORECASE)
_SAM_WIDTHS = {768, 1024, 1280}
_SAM_VARIANT = re.compile(r"image_encoder\.blocks\.(?:1[2-9]|2\d|3\d)\.|hf_(?:token|mlp)|compress_vit_feat")
_NOT_A_DICT = re.compile(r"Expected state_dict to be dict-like, got <class '(?P<type>[\w.]{1,120})'>")
_OPTIMIZER = re.compile(
    r"loaded state dict (?:contains a parameter group that doesn't match the size of optimizer's group"
    r"|has a different number of parameter groups)"
)
_WARNING_ONLY = "do not match exactly"


def _examine(log: Log) -> LogMatch | None:
    misfit = read_misfit(log)
    if misfit is None:
        return _without_lists(log)
    message = misfit.message
    if message.error is None and _WARNING_ONLY in message.evidence.text:
        return None
    cause, fix = _diagnose(misfit, log)
    score = 0.95 if message.first else 0.85
    return LogMatch(0.6 if _of_another_sam(misfit) else score, message.facts, cause, Fix(fix))


def _without_lists(log: Log) -> LogMatch | None:
    """Complaints about the dictionary as a whole."""
    if found := find_message(log, _NOT_A_DICT):
        kind = found.match["type"]
        fix = "Take its weights: `model.load_state_dict(loaded.state_dict())`; save `model.state_dict()` from now on."
        return LogMatch(0.9, found.facts, f"The file holds a whole `{kind}`, not a state dict.", Fix(fix))
    if found := find_message(log, _OPTIMIZER):
        fix = (
            "Build the optimiser over the same parameters, in the same groups, as when the checkpoint was saved "
            "(freezing or a new head changes them); or load the model alone and start the optimiser afresh."
        )
        cause = "The optimiser's state was saved for other parameter groups than it has now."
        return LogMatch(0.85, found.facts, cause, Fix(fix))
    for error in log.exceptions[:1]:
        key = error.message.strip().strip("'\"")
        if error.name == "KeyError" and key in _CONTAINERS and _loads(error):
            fix = f"Print `checkpoint.keys()`: where the tensors' names stand there, drop the `[{key!r}]`."
            return LogMatch(0.7, (error.evidence,), f"The checkpoint has no entry {key!r}.", Fix(fix))
    return None


def _loads(error: LoggedException) -> bool:
    return any(re.search(r"load_state_dict|checkpoint|ckpt|torch\.load", frame.code) for frame in error.frames[-2:])


def _of_another_sam(misfit: Misfit) -> bool:
    """Whether the checkpoint is of another variant of Segment Anything, which is a rule of its own."""
    if not _SAM.match(misfit.model) and not any("image_encoder." in s.name for s in misfit.sizes):
        return False
    names = (*misfit.missing, *misfit.unexpected)
    wide = ({*s.given[-1:], *s.wanted[-1:]} for s in misfit.sizes if s.given[-1:] != s.wanted[-1:])
    return any(_SAM_VARIANT.search(name) for name in names) or any(w <= _SAM_WIDTHS for w in wide)


def _diagnose(misfit: Misfit, log: Log) -> tuple[str, str]:
    container = next((name for name in _CONTAINERS if name in misfit.unexpected), None)
    if container is not None:
        return (
            f"The file holds a dictionary with `{container}` as one entry, not the state dict itself.",
            f'Load that entry: `model.load_state_dict(checkpoint["{container}"])`.',
        )
    return _renamed(misfit) or _resized(misfit, log) or _listed(misfit)


def _renamed(misfit: Misfit) -> tuple[str, str] | None:
    found = renaming(misfit.missing, misfit.unexpected)
    if found is None:
        return None
    there, here = f"{found.given}{found.example.removeprefix(found.wanted)}", found.example
    cause = f"The checkpoint calls `{there}` what the model calls `{here}`."
    if not found.wanted:
        new = f'name.removeprefix("{found.given}")'
        fix = f"Strip `{found.given}` from the names"
    elif not found.given:
        new = f'"{found.wanted}" + name'
        inner = found.wanted.rstrip(".").rpartition(".")[2]
        fix = f"Load into the inner model, `model.{inner}.load_state_dict(state)`, or add the prefix"
    else:
        new = f'name.replace("{found.given}", "{found.wanted}", 1)'
        fix = f"Write `{found.wanted}` for `{found.given}` in the names"
    other = _resized(misfit, None)
    rest = f" Besides, {other[0]} {other[1]}" if other is not None else ""
    return cause, f"{fix}: `state = {{{new}: tensor for name, tensor in state.items()}}`.{rest}"


def _resized(misfit: Misfit, log: Log | None) -> tuple[str, str] | None:
    sizes = misfit.sizes
    if not sizes:
        return None
    positions = [size for size in sizes if _POSITION.search(size.name)]
    if positions and len(positions) == len(sizes):
        return _position(positions, log)
    heads = [size for size in sizes if size.rows_only]
    kept = len(heads) == len(sizes) and not any("running_" in size.name for size in sizes)
    if kept and (all(_HEAD.search(size.name) for size in sizes) or len(_modules(sizes)) <= 2):
        return _head(sizes)
    first = sizes[0]
    if len(sizes) == 1 and len(first.given) == len(first.wanted) == 4 and first.given[0] == first.wanted[0]:
        given, wanted = first.given[1], first.wanted[1]
        if given != wanted and first.given[2:] == first.wanted[2:]:
            cause = f"`{first.name}` takes {given} channels in the checkpoint and {wanted} in the model."
            return cause, (
                f"Build the model for {given} input channels (`in_channels={given}`, in timm `in_chans={given}`), "
                f"or adapt the filters before loading: their mean over the channels, repeated {wanted} times."
            )
    cause = (
        f"{len(sizes)} tensors differ in size: `{first.name}` is {_shape(first.given)}, here {_shape(first.wanted)}."
    )
    return cause, (
        "The checkpoint is of another variant or setting of the model. Choose the one whose "
        f"`{first.name}` is {_shape(first.given)}, or the checkpoint made for this one."
    )


def _modules(sizes: tuple[SizeMismatch, ...]) -> set[str]:
    return {size.name.rpartition(".")[0] for size in sizes}


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _head(sizes: tuple[SizeMismatch, ...]) -> tuple[str, str]:
    first = min(sizes, key=lambda size: size.given[0])
    given, wanted = first.given[0], first.wanted[0]
    part = first.name.rpartition(".")[0]
    parts = tuple(sorted(_modules(sizes)))
    prefix = f'"{parts[0]}."' if len(parts) == 1 else "(" + ", ".join(f'"{name}."' for name in parts[:4]) + ")"
    if "rpn" in part.lower():
        cause = f"`{part}` has {given} outputs in the checkpoint and {wanted} in the model: other anchors."
        return cause, "Set the anchor scales and ratios that the checkpoint was trained with."
    background = " One more on one side usually counts the background." if abs(given - wanted) == 1 else ""
    cause = f"`{part}` has {given} outputs in the checkpoint and {wanted} in the model.{background}"
    fix = (
        f"To use it as it is, build the model for {given} outputs (`num_classes={given}`, one less "
        f"where the model adds a background class itself). To train {wanted} classes, "
        f"drop the head: `state = {{k: v for k, v in state.items() if not k.startswith({prefix})}}`, then "
        f"`model.load_state_dict(state, strict=False)`; with `from_pretrained`, `ignore_mismatched_sizes=True`."
    )
    return cause, fix


def _position(sizes: list[SizeMismatch], log: Log | None) -> tuple[str, str]:
    first = sizes[0]
    grids = grid_sides(first)
    if grids is None:
        cause = f"`{first.name}` is {_shape(first.given)} in the checkpoint and {_shape(first.wanted)} in the model."
        return cause, "Build the model for the image or window size that the checkpoint was trained with."
    given, wanted = grids
    stated = log.search(r"patch_?(?:size)?[ =:_]{0,3}\d\d\b") if log is not None else None
    found = re.search(r"patch_?(?:size)?[ =:_]{0,3}(\d\d)\b", stated.text) if stated is not None else None
    patch = int(found[1]) if found else 16
    told = "" if found else " where a patch has 16"
    if "relative_position" in first.name:
        return (
            f"`{first.name}` is for windows of {given} x {given} in the checkpoint, {wanted} x {wanted} in the model.",
            f"Build the model with `window_size={given}`, or take the checkpoint made for {wanted}.",
        )
    cause = f"`{first.name}` is for a grid of {given} x {given} in the checkpoint and {wanted} x {wanted} in the model"
    return f"{cause}: images of {given * patch} and {wanted * patch} pixels{told}.", (
        f"Build the model with `img_size={given * patch}`, or resize the embedding before loading "
        "(`timm.layers.resample_abs_pos_embed`, or `F.interpolate` over the grid)."
    )


def _listed(misfit: Misfit) -> tuple[str, str]:
    missing, unexpected = misfit.missing, misfit.unexpected
    if (missing or unexpected) and all(_BUFFERS.search(name) for name in (*missing, *unexpected)):
        name = (*missing, *unexpected)[0]
        return (
            f"Only buffers such as `{name}` differ, which another version of the code writes or which are computed.",
            "Load with `strict=False`: nothing that was learned is lost.",
        )
    if missing and unexpected:
        deeper = _deeper(missing, unexpected)
        return (
            f"The model has `{missing[0]}`, the checkpoint does not; it has `{unexpected[0]}` instead.{deeper}",
            (
                "Code and weights are of different versions or variants: build the model with the settings that the "
                "checkpoint was trained with, or take the weights released for this version of the code."
            ),
        )
    if unexpected:
        part = unexpected[0].partition(".")[0]
        cause = f"The checkpoint holds a part that the model lacks: `{unexpected[0]}`.{_deeper((), unexpected)}"
        return cause, (
            f"Build the model with that part (`{part}`), or leave it out with `strict=False` and check that "
            "nothing else was skipped."
        )
    if missing:
        return f"The model has `{missing[0]}`, and the checkpoint does not have it under any name.", (
            "Compare the names of both: the checkpoint is of another part (an encoder alone, another head) or "
            "another layout of names. With `strict=False` these parts would stay random."
        )
    return "Names or sizes differ.", "Compare `checkpoint.keys()` with `model.state_dict().keys()`."


def _deeper(missing: tuple[str, ...], unexpected: tuple[str, ...]) -> str:
    """Says so when one side goes on counting layers where the other has stopped."""
    for names, whose in ((unexpected, "checkpoint"), (missing, "model")):
        found = [match for match in map(_NUMBERED.match, names) if match]
        stems = {match["stem"] for match in found}
        if len(stems) == 1 and len(found) == len(names) and len(names) > 1:
            low, high = (limit(int(match["number"]) for match in found) for limit in (min, max))
            return (
                f" `{found[0]['stem']}.{low}` to `.{high}` are only in the {whose}: it is deeper there." if low else ""
            )
    return ""


_KEYS = """
import json, torch
state = torch.load({path}, map_location="cpu", weights_only=True)
print(json.dumps(list(state)[:2000]))
"""


def _probe(log: Log, here: Here) -> Answer:
    misfit = read_misfit(log)
    paths = [path for name in named_weights(log) if (path := here.root / name).is_file()]
    if misfit is None or not paths:
        return Answer(Outcome.CANNOT_TELL, "the checkpoint that the log names is not on this machine")
    ran = here.python(_KEYS.format(path=repr(str(paths[0]))))
    names = set(re.findall(r'"([^"]{1,300})"', ran.output)) if ran.code == 0 else set()
    if not names:
        return Answer(Outcome.CANNOT_TELL, f"{paths[0]} could not be read")
    seen = [name for name in misfit.unexpected if name in names]
    if seen:
        return Answer(Outcome.CONFIRMED, f"{paths[0]} holds `{seen[0]}`, which the model does not know")
    if misfit.unexpected:
        return Answer(Outcome.REFUTED, f"{paths[0]} does not hold `{misfit.unexpected[0]}`")
    lacking = [name for name in misfit.missing if name not in names]
    if lacking:
        return Answer(Outcome.CONFIRMED, f"{paths[0]} does not hold `{lacking[0]}`")
    return Answer(Outcome.CANNOT_TELL, f"{paths[0]} holds {len(names)} entries; sizes need the model to compare with")


_PREFIXES = {
    "torch.compile": "_orig_mod",
    "torch.nn.DataParallel": "module",
    "torch.nn.parallel.DataParallel": "module",
    "torch.nn.parallel.DistributedDataParallel": "module",
}
_HANDLED = re.compile(
    r"module\.|\.module\b|_orig_mod|unwrap|consume_prefix|strip_prefix|removeprefix|strict=False|remove_prefix|getattr\("
)


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    """A wrapped model's names saved, and loaded by a model that is not wrapped."""
    saved = [call for call in file.calls_to(".state_dict") if _prefix(call) and _is_saved(file, call)]
    if not saved or any(_HANDLED.search(_code(part)) for part in (file, *file.elsewhere)):
        return
    loads = [call for part in (file, *file.elsewhere) for call in part.calls_to(".load_state_dict")]
    plain = [
        call for call in loads if call.receiver_origin is not None and not _prefix(call) and _is_model(call, saved)
    ]
    if not plain:
        return
    for call in saved:
        prefix = _prefix(call)
        yield Hit(
            f"`{call.receiver}` is wrapped, so every name is saved with `{prefix}.` in front, "
            f"and `{plain[0].receiver}`, which is not, cannot load them",
            call.span,
            Fix(
                f"Save `{call.receiver}.{prefix}.state_dict()`.",
                FixSafety.UNSAFE,
                "checkpoints written before have the prefix, and a wrapped model loads only those",
                edits=(file.edit(call.span, f"{call.receiver}.{prefix}.state_dict()"),),
            ),
        )


def _code(file: SourceFile) -> str:
    return re.sub(r"import torch[^\n]*|from torch[^\n]*|#[^\n]*", "", file.text)


def _prefix(call: CallSite) -> str | None:
    origin = call.receiver_origin
    return _PREFIXES.get(origin.name) if origin is not None and not set(origin.through) & {".module"} else None


def _is_saved(file: SourceFile, call: CallSite) -> bool:
    named = re.compile(rf"(?<![\w.]){re.escape(call.target)}(?!\w)") if call.target else None
    saves = [save for save in file.calls_to("torch.save") if save.function == call.function]
    return any(save.span.contains(call.span) or (named is not None and named.search(save.code)) for save in saves)


def _is_model(call: CallSite, saved: list[CallSite]) -> bool:
    inner = {u.name for s in saved if (u := unwrapped(s.receiver_origin)) is not None}
    return call.receiver_origin is not None and call.receiver_origin.name in inner


RULE = Rule(
    slug="state-dict-mismatch",
    family="weights",
    title="The weights do not fit the model",
    level=Level.ERROR,
    log=LogFacet(
        ("state_dict", "state dict", "copying the parameter", "copying a param", "ignore_mismatched_sizes", "keyerror"),
        _examine,
        _probe,
    ),
    source=SourceFacet((".state_dict(",), _examine_source),
    before=BeforeFacet(Cost.SECONDS, clash_findings),
    during=absent("weights are loaded before the first step"),
    module=__name__,
)
