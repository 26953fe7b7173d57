"""A checkpoint of SAM is loaded into another variant of the model.

What happens
------------
`RuntimeError: Error(s) in loading state_dict for Sam: Unexpected key(s) in state_dict:
"image_encoder.blocks.12.norm1.weight", ...` or `size mismatch for image_encoder.pos_embed: copying a param with shape
torch.Size([1, 64, 64, 1280]) from checkpoint, the shape in current model is torch.Size([1, 64, 64, 768])`; or
`KeyError: 'vit_t'` from `sam_model_registry`.

Why
---
SAM comes in three sizes whose files look alike: vit_b (12 blocks, width 768), vit_l (24, 1024) and vit_h (32, 1280).
`sam_model_registry["vit_b"]` builds the small one whatever the file is. MobileSAM (`vit_t`) and HQ-SAM
(`mask_decoder.hf_token`) have layers of their own and need their own packages. SAM 2 has four sizes of Hiera, and the
files of SAM 2.1 hold weights that SAM 2 does not have.

How to confirm
--------------
The published files differ in size: vit_b 375 MB, vit_l 1.2 GB, vit_h 2.6 GB, MobileSAM 41 MB. In a loaded state dict
the last number of `image_encoder.pos_embed` is the width.

Fix
---
Name the variant of the file: `sam_model_registry["vit_h"](checkpoint="sam_vit_h_4b8939.pth")`. HQ-SAM:
`segment_anything_hq`; MobileSAM: `mobile_sam`, with its own registry. SAM 2: the configuration of the same size and
version as the file.

When it is something else
-------------------------
Keys that all begin with `module.` or `model.` belong to a checkpoint of a trainer: `state-dict-mismatch`. A position
embedding of another grid but the same width belongs to another image size. A file that cannot be read at all is
`corrupt-checkpoint`.

Sources
-------
- Segment Anything, model checkpoints: https://github.com/facebookresearch/segment-anything#model-checkpoints
- SAM 2, checkpoints: https://github.com/facebookresearch/sam2#download-checkpoints
- Kirillov et al., Segment Anything, ICCV 2023: https://arxiv.org/abs/2304.02643
- Ke et al., Segment Anything in High Quality: https://arxiv.org/abs/2306.01567
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from snellen.core.finding import Edit, Evidence, Finding, Fix, FixSafety, Level, Location
from snellen.core.known.sam import FILE_BYTES, WIDTHS, file_variant, model_variant, same_variant
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, Setting, SourceFile, Span

__all__ = ["RULE"]

_STATE = re.compile(
    r"image_encoder\.(?:blocks\.\d+|pos_embed|patch_embed|neck|trunk|layers\.\d)|mask_decoder\.(?:hf_\w+|compress_vit_feat|"
    r"embedding_\w+)|obj_ptr_tpos_proj|no_obj_embed_spatial"
)
_SIZES = re.compile(
    r"size mismatch for image_encoder\.[\w.]+: copying a param with shape torch\.Size\(\[(?P<file>[\d, ]+)\]\) "
    r"from checkpoint, the shape in current model is torch\.Size\(\[(?P<model>[\d, ]+)\]\)"
)
_KEYS = re.compile(r"(?P<kind>unexpected|missing) key\(s\) in state_dict:(?P<keys>[^\n]*)", re.IGNORECASE)
_BLOCK = re.compile(r"image_encoder\.blocks\.(?P<number>\d{1,9})\.")
_HQ = re.compile(r"mask_decoder\.(?:hf_token|hf_mlp|compress_vit_feat|embedding_encoder|embedding_maskfeature)")
_REGISTRY = re.compile(r"sam_model_registry\[")
_ASKED = re.compile(r"(?:--)?model[-_]?type[ =:'\"]{1,4}(?P<name>vit_\w+|default)")
_FILE = re.compile(r"(?<![^\s'\"=,(])[^\s'\"=,()]{1,300}\.(?:pth|pt|safetensors)(?![\w.])", re.IGNORECASE)
_DEPTHS = {12: "vit_b", 24: "vit_l", 32: "vit_h"}


def _examine_log(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        if error.name == "KeyError" and error.frames and _REGISTRY.search(error.frames[-1].code):
            name = error.message.strip("'\" ")
            fix = Fix(
                "MobileSAM has a registry of its own: `from mobile_sam import sam_model_registry`."
                if name in ("vit_t", "vit_tiny")
                else "The registry knows `vit_b`, `vit_l`, `vit_h` and `default` (vit_h); name one of them, no file."
            )
            cause = f"`sam_model_registry` has no model called {name!r}."
            return LogMatch(0.9, (error.evidence, error.frames[-1].evidence), cause, fix)
    told = find_message(log, _STATE)
    return _of_state(log, told) if told is not None and _loading(log, told) else None


def _loading(log: Log, told: Message) -> bool:
    if told.error is not None:
        return "state_dict" in told.error.text
    return log.search(r"loading state_dict for|key\(s\) in state_dict|size mismatch for image_encoder") is not None


def _of_state(log: Log, told: Message) -> LogMatch | None:
    text = told.error.text if told.error is not None else "\n".join(line.text for line in log.lines)
    keys = {found["kind"].lower(): found["keys"] for found in _KEYS.finditer(text)}
    if _HQ.search(text):
        return _of_quality(told, missing=_HQ.search(keys.get("missing", "")) is not None)
    found = _by_width(text) or _by_depth(keys) or _by_family(keys)
    if found is None:
        return None
    file, model = found
    asked = next((m["name"] for line in log.lines if (m := _ASKED.search(line.text))), None)
    given = _file_of(log)
    named = file_variant(given) if given else None
    # Where the weights leave two variants open the name of the file decides.
    file = named.removeprefix("hq ") if named is not None and named.removeprefix("hq ") in file else file
    cause = f"The checkpoint{f' {given}' if given else ''} holds {file}, the model was built as {asked or model}."
    return LogMatch(0.96, told.facts, cause, _fix(file, model))


def _file_of(log: Log) -> str | None:
    """The checkpoint that the log names."""
    named = (found[0] for line in log.lines for found in _FILE.finditer(line.text))
    return next((name for name in named if "sam" in name.lower()), None)


def _fix(file: str, model: str) -> Fix:
    if file.startswith("vit_t"):
        return Fix('Build it with MobileSAM\'s package: `from mobile_sam import sam_model_registry`, then `["vit_t"]`.')
    if file.startswith("vit_") and "hiera" not in model:
        return Fix(f'Build the variant of the file, `sam_model_registry["{file}"](...)`, or take the file of {model}.')
    return Fix(
        f"Take the configuration of the same size and version as the file ({file}): `sam2.1_hiera_l.yaml` for "
        "`sam2.1_hiera_large.pt`. Files of SAM 2.1 need the code of SAM 2.1, those of SAM 2 a configuration without "
        "`2.1`, and neither loads into `segment_anything`."
    )


def _of_quality(told: Message, *, missing: bool) -> LogMatch:
    if missing:
        cause = "The model is HQ-SAM, the checkpoint is of SAM: the layers of the high quality token are missing."
        return LogMatch(
            0.95, told.facts, cause, Fix("Load `sam_hq_vit_*.pth`, or build the model with `segment_anything`.")
        )
    cause = "The checkpoint is of HQ-SAM, the model is SAM, which has no high quality token."
    fix = Fix(
        "Build it with HQ-SAM's package, `from segment_anything_hq import sam_model_registry`; else load `sam_vit_*`.",
        command="pip install segment-anything-hq",
    )
    return LogMatch(0.95, told.facts, cause, fix)


def _by_width(text: str) -> tuple[str, str] | None:
    """Variants of file and model from two shapes of the same weight."""
    for found in _SIZES.finditer(text):
        file = [int(part) for part in re.findall(r"\d+", found["file"])]
        model = [int(part) for part in re.findall(r"\d+", found["model"])]
        if len(file) != len(model):
            continue
        for first, second in zip(file, model, strict=True):
            if first != second and first in {*WIDTHS, 96} and second in {*WIDTHS, 96}:
                return WIDTHS.get(first, "hiera_t or hiera_s"), WIDTHS.get(second, "hiera_t or hiera_s")
    return None


def _by_depth(keys: Mapping[str, str]) -> tuple[str, str] | None:
    """Variants of file and model from blocks that only one of them has."""
    more = [int(found["number"]) for found in _BLOCK.finditer(keys.get("unexpected", ""))]
    fewer = [int(found["number"]) for found in _BLOCK.finditer(keys.get("missing", ""))]
    if more and min(more) in _DEPTHS:
        deeper = "vit_h" if max(more) >= 24 else "a deeper variant, vit_l or vit_h"
        return deeper, _DEPTHS[min(more)]
    if fewer and min(fewer) in _DEPTHS:
        return _DEPTHS[min(fewer)], "vit_h" if max(fewer) >= 24 else "a deeper variant, vit_l or vit_h"
    return None


def _by_family(keys: Mapping[str, str]) -> tuple[str, str] | None:
    """Another model of the family, by names that only it has."""
    unexpected, missing = keys.get("unexpected", ""), keys.get("missing", "")
    newer = r"obj_ptr_tpos_proj|no_obj_embed_spatial"
    if re.search(newer, unexpected) or re.search(newer, missing):
        return ("sam2.1", "sam2") if re.search(newer, unexpected) else ("sam2", "sam2.1")
    if "image_encoder.layers." in unexpected or "image_encoder.patch_embed.seq" in unexpected:
        return "vit_t", "SAM"
    if "image_encoder.trunk." in unexpected and "image_encoder.blocks." in missing:
        return "a model of SAM 2", "SAM"
    if "image_encoder.blocks." in unexpected and "image_encoder.trunk." in missing:
        return "a model of SAM", "SAM 2"
    return None


def _probe(log: Log, here: Here) -> Answer:
    """The published files are told apart by their size."""
    given = _file_of(log)
    path = here.root / given if given else None
    if path is None or not path.is_file():
        return Answer(Outcome.CANNOT_TELL, f"{given or 'the checkpoint'} is not here to be measured")
    size = path.stat().st_size
    variant = next((name for name, bytes_ in FILE_BYTES.items() if abs(size - bytes_) < 0.03 * bytes_), None)
    asked = next((m["name"] for line in log.lines if (m := _ASKED.search(line.text))), None)
    if variant is None:
        return Answer(Outcome.CANNOT_TELL, f"{given} has {size} bytes, as none of the published files")
    built = model_variant(asked) if asked else None
    if built is None:
        return Answer(
            Outcome.CANNOT_TELL, f"{given} has {size} bytes: it is {variant}; what was built the log does not say"
        )
    outcome = Outcome.REFUTED if built == variant else Outcome.CONFIRMED
    return Answer(outcome, f"{given} has {size} bytes: it is {variant}, and {built} was asked for")


# -- source ------------------------------------------------------------------------------------------------------------

_KEYED = re.compile(r"^(?P<name>[\w.]{1,80})\[\s*(?P<key>[^\]\n]+?)\s*\]\s*\(")
_BUILDER = re.compile(r"(?:^|\.)build_sam_(?P<key>vit_[bhlt])$")
_BUILDER2 = re.compile(r"(?:^|\.)build_sam2(?:_video_predictor|_camera_predictor)?$")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    yield from _settings(file)
    for call in file.calls:
        keyed, builder = _KEYED.match(call.code), _BUILDER.search(call.name)
        if keyed is not None and not _is_registry(file, keyed["name"]):
            keyed = None
        if keyed is not None and call.arguments:
            yield from _registered(file, call, keyed)
        elif builder is not None:
            yield from _compared(file, call.argument(0, "checkpoint"), builder["key"], None)
        elif _BUILDER2.search(call.name):
            yield from _configured(file, call)


def _settings(file: SourceFile) -> Iterator[Hit]:
    """A variant and a checkpoint in the same section of a YAML file."""
    sections: dict[str, list[Setting]] = {}
    for setting in file.settings:
        if isinstance(setting.value, str):
            sections.setdefault(setting.key.rpartition(".")[0], []).append(setting)
    for settings in sections.values():
        variants = [(each, variant) for each in settings if (variant := model_variant(str(each.value)))]
        files = [
            (each, given) for each in settings if (given := file_variant(str(each.value))) and "hiera" not in given
        ]
        if len(variants) != 1 or len(files) != 1 or same_variant(variants[0][1], files[0][1]):
            continue
        given = files[0][1].removeprefix("hq ")
        fix = Fix(
            f"Write `{given}`, the variant of the file.",
            FixSafety.SAFE,
            "the file does not load into any other variant",
            edits=(file.edit(variants[0][0].span, given),),
        )
        yield Hit(f"the checkpoint is {files[0][1]}, the model {variants[0][1]}", variants[0][0].span, fix)


def _is_registry(file: SourceFile, name: str) -> bool:
    """Whether a name, as the file imports it, is the registry of models."""
    root, _, rest = name.partition(".")
    return ".".join(filter(None, (file.imports.get(root, root), rest))).endswith("sam_model_registry")


def _registered(file: SourceFile, call: CallSite, keyed: re.Match[str]) -> Iterator[Hit]:
    key, span = keyed["key"], call.span
    if key[:1] in "'\"":
        column = span.start_column + keyed.start("key")
        place = Span(span.start_line, column, span.start_line, column + len(key))
        yield from _compared(file, call.argument(0, "checkpoint"), key.strip("'\""), place)
        return
    held = [item for item in file.assignments if item.target == key]
    if len(held) == 1 and isinstance(held[0].value, str):
        used = len(re.findall(rf"(?<![\w.]){re.escape(key)}(?!\w)", file.text))
        yield from _compared(file, call.argument(0, "checkpoint"), held[0].value, held[0].span if used == 2 else None)


def _name_of_file(file: SourceFile, argument: Argument | None) -> str:
    """The text that names a checkpoint: a constant, the parts of a path, or what a name was given."""
    if argument is None:
        return ""
    if isinstance(argument.value, str):
        return argument.value
    held = [item for item in file.assignments if item.target == argument.code]
    if argument.origin is not None:
        parts = [part.value for part in argument.origin.call.arguments if isinstance(part.value, str)]
        return "/".join(parts)
    return held[0].code if len(held) == 1 else argument.code if re.search(r"['\"]", argument.code) else ""


def _compared(file: SourceFile, checkpoint: Argument | None, key: str, place: Span | None) -> Iterator[Hit]:
    built, given = model_variant(key), file_variant(_name_of_file(file, checkpoint))
    if checkpoint is None or built is None or given is None or "hiera" in given:
        return
    if given.startswith("hq ") and "segment_anything" in {name.partition(".")[0] for name in file.imports.values()}:
        fix = Fix("Import it from `segment_anything_hq`, or load `sam_vit_*.pth`.")
        yield Hit(f"the checkpoint is of HQ-SAM ({given}), whose token SAM does not have", checkpoint.span, fix)
        return
    if same_variant(built, given):
        return
    variant = given.removeprefix("hq ")
    text = f'Write `"{variant}"`, the variant of the file.'
    edits: tuple[Edit, ...] = (file.edit(place, f'"{variant}"'),) if place is not None and variant != "vit_t" else ()
    reason = "the file does not load into any other variant"
    fix = Fix(text, FixSafety.SAFE, reason, edits) if edits else Fix(text)
    yield Hit(f"the checkpoint is {given}, the model is built as {built}", place or checkpoint.span, fix)


def _configured(file: SourceFile, call: CallSite) -> Iterator[Hit]:
    config, checkpoint = call.argument(0, "config_file"), call.argument(1, "ckpt_path")
    built = file_variant(_name_of_file(file, config))
    given = file_variant(_name_of_file(file, checkpoint))
    if config is None or checkpoint is None or built is None or given is None or built == given:
        return
    place = Location(file.path, checkpoint.span.start_line, checkpoint.span.start_column + 1)
    fix = Fix(f"Name the configuration of {given}, or the checkpoint of {built}.")
    message = f"the configuration is of {built}, the checkpoint of {given}"
    yield Hit(message, config.span, fix, (Evidence(checkpoint.code, place),))


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    pairs = list(_pairs(plan.settings)) or list(_pairs_by_content(plan))
    if not pairs:
        raise NotApplicable("the run names no checkpoint of SAM beside a variant")
    for key, built, file_key, given in pairs:
        if not same_variant(built, given):
            message = f"{file_key} is a checkpoint of {given}, {key} says {built}"
            fix = Fix(
                f"Write {key}: {given.removeprefix('hq ')}",
                FixSafety.SAFE,
                "the file does not load into any other variant",
                settings=((key, given.removeprefix("hq ")),),
            )
            place = setting_place(plan, key)
            yield Finding("sam-variant-mismatch", Level.ERROR, message, place, fix=fix)


def _pairs_by_content(plan: Plan) -> Iterator[tuple[str, str, str, str]]:
    """A key whose value is a variant, and a checkpoint of SAM under another name, told by its tensors."""
    stated = list(_variants(plan.settings))
    if len(stated) != 1 or not plan.fact("weights"):
        return
    for network in plan.fact("architectures"):
        given = file_variant(network.name) if network.library == "segment-anything" else None
        if given:
            yield (*stated[0], network.key, given)


def _variants(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _variants(value, f"{prefix}{name}.")
        elif isinstance(value, str) and (variant := model_variant(value)):
            yield f"{prefix}{name}", variant


def _pairs(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """In each section, a key whose value is a variant and one whose value is a file of a variant."""
    texts = {f"{prefix}{name}": value for name, value in settings.items() if isinstance(value, str)}
    variants = [(key, variant) for key, value in texts.items() if (variant := model_variant(value))]
    files = [(key, given) for key, value in texts.items() if (given := file_variant(value)) and "hiera" not in given]
    if len(variants) == len(files) == 1:
        yield (*variants[0], *files[0])
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{prefix}{name}.")


RULE = Rule(
    slug="sam-variant-mismatch",
    family="tasks",
    title="A checkpoint of SAM belongs to another variant of the model",
    level=Level.ERROR,
    log=LogFacet(
        ("image_encoder.", "sam_model_registry", "mask_decoder.", "obj_ptr_tpos_proj", "no_obj_embed"),
        _examine_log,
        _probe,
    ),
    source=SourceFacet(("sam_model_registry", "build_sam", "sam_vit_", "sam_hq_"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("the checkpoint is refused before the first step"),
    module=__name__,
)
