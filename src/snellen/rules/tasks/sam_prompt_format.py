"""Points, labels or boxes are given to SAM in another form than it takes.

What happens
------------
`AssertionError: point_labels must be supplied if point_coords is supplied.`, `ValueError: points and labels must be
provided together`, `The input_points must be a 4D tensor. Of shape batch_size, point_batch_size,
nb_points_per_image, 2`, `Tensors must have same number of dimensions: got 2 and 3` from the prompt encoder, an
`IndexError` in `add_new_points`. Or nothing is raised and the mask lies beside the object.

Why
---
Every interface wants its own axes. `SamPredictor.predict` takes NumPy arrays: points (N, 2) as x, y in pixels of the
original image, labels (N,), 1 for the object and 0 for the background, and one box (4,) as x0, y0, x1, y1.
`predict_torch` takes tensors with a batch axis, (B, N, 2), (B, N) and (B, 4), that `transform.apply_coords_torch` has
already scaled. transformers takes nested lists with one level more. Boxes of COCO, and those that
`SamAutomaticMaskGenerator` returns, are x, y, width, height. Text is no prompt of SAM or SAM 2.

How to confirm
--------------
Print `np.shape` of points, labels and box, and draw them into the image.

Fix
---
One label for each point; a batch axis for `predict_torch`, `points[None]`, `labels[None]`; one set of points for each
box. `x, y, w, h` becomes `[x, y, x + w, y + h]`. For text put a detector in front (Grounding DINO), and give SAM its
boxes.

When it is something else
-------------------------
No box at all reached SAM: `detector-empty`. Tensors on two devices are `device-mismatch`. Boxes of the wrong kind in
a detector's training are `box-format`. `An image must be set with .set_image(...)` is an order of calls.

Sources
-------
- `SamPredictor`: https://github.com/facebookresearch/segment-anything/blob/main/segment_anything/predictor.py
- SAM 2, image and video predictor: https://github.com/facebookresearch/sam2
- transformers, SAM: https://huggingface.co/docs/transformers/model_doc/sam
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.makers import Makers
from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.logs.messages import find_message
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, Origin, SourceFile

__all__ = ["RULE"]

_UNLABELLED = re.compile(
    r"point_labels must be supplied if point_coords is supplied|points and labels must be provided together"
    r"|number of points \d+ should match number of labels \d+",
    re.IGNORECASE,
)
_STATED = re.compile(
    r"at least one of points or box must be provided|cannot add box without clearing old points"
    r"|box prompt must be provided before any point|should only have one box|as many bounding boxes as input points"
    r"|\binput[_ ](?:points|boxes|labels) (?:and labels )?(?:must be|should be|have inconsistent)"
    r"|\binput[_ '](?:points|boxes|labels)'? [^\n]{0,60}nest(?:ed|ing)",
    re.IGNORECASE,
)
_RANK = re.compile(r"tensors must have same number of dimensions: got \d and \d", re.IGNORECASE)
_ENCODING = frozenset(
    {
        *("_embed_points", "_embed_boxes", "apply_coords", "apply_coords_torch", "apply_boxes", "apply_boxes_torch"),
        *("_prep_prompts", "add_new_points", "add_new_points_or_box", "add_new_prompt", "_normalize_coordinates"),
        *("_check_and_preprocess_points", "_normalize_and_convert"),
    }
)
_NOT_FORM = re.compile(
    r"same device|cuda|dtype|half|memory|is not a package|no module|allow_new|tracking starts", re.IGNORECASE
)
_TEXT = re.compile(r"\.predict(?:_torch|_inst)?\(\s*['\"][^'\"\n]{1,80}['\"]\s*\)")
_ARRAYS = re.compile(
    r"^\s*(?:input_)?(?:points?|labels?|box(?:es)?|point_\w+)\s*=\s*(?:np\.array|torch\.tensor|tensor|array)\("
)
_SHAPES = (
    "`predict` takes NumPy arrays: points (N, 2), labels (N,), one box (4,) as x0, y0, x1, y1; `predict_torch` tensors "
    "with a batch axis: points (B, N, 2), labels (B, N), boxes (B, 4)"
)


def _examine_log(log: Log) -> LogMatch | None:
    told = find_message(log, _UNLABELLED)
    if told is not None:
        text = _TEXT.search(told.code)
        if text is not None:
            cause = f"A text was given as the first prompt, the coordinates of points: `{text[0].lstrip('.')}`."
            fix = Fix(
                "SAM takes points, boxes and masks only: let a detector find boxes for the text, and give it those."
            )
            return LogMatch(0.96, told.facts, cause, fix)
        cause = "Points came without a label for each of them."
        fix = Fix(
            "Give each point a label, 1 for the object, 0 for background: `point_labels=np.ones(len(points), int)`."
        )
        return LogMatch(0.96, told.facts, cause, fix)
    told = find_message(log, _STATED)
    if told is not None:
        return LogMatch(0.94, told.facts, f"{_sentence(told.match.string)}", _fix(told.match[0]))
    for error in log.exceptions:
        found = _in_encoder(error)
        if found is not None:
            return found
    told = find_message(log, _RANK)
    arrays = [line for line in log.lines if _ARRAYS.search(line.text)]
    if told is None or len(arrays) < 2:
        return None
    cause = "Points or labels lack the batch axis: the prompt encoder joins them with a tensor that has one."
    evidence = (told.evidence, *(line.evidence for line in arrays[:2]))
    return LogMatch(
        0.7, evidence, cause, Fix("Add the axis to both: `point_coords=points[None]`, `point_labels=labels[None]`.")
    )


def _sentence(text: str) -> str:
    line = next((part for part in text.splitlines() if _STATED.search(part)), text).strip()
    line = re.sub(r"^(?:\w+\.)*\w+(?:Error|Exception): ", "", line)[:200].rstrip(".")
    return f"{line[:1].upper()}{line[1:]}."


def _fix(message: str) -> Fix:
    lowered = message.lower()
    if "one box" in lowered:
        return Fix("Give one box, and ask once more for each further box.")
    if "input" in lowered:
        return Fix(
            "Nest the lists and let the processor make tensors: `input_points=[[[x, y]]]` by image and point (in SAM 2 "
            "by object, too: `[[[[x, y]]]]`), `input_labels=[[1]]`, `input_boxes=[[[x0, y0, x1, y1]]]`."
        )
    if "clearing" in lowered or "before any" in lowered:
        return Fix("Give box and points in one call, or the box first: a later box needs `clear_old_points=True`.")
    return Fix(f"{_SHAPES}.")


def _in_encoder(error: LoggedException) -> LogMatch | None:
    """An error of the functions that scale and encode prompts."""
    inner = error.frames[-4:]
    named = next((frame for frame in inner if frame.function.rpartition(".")[2] in _ENCODING), None)
    placed = next((frame for frame in inner if "prompt_encoder" in frame.path.replace("\\", "/")), None)
    frame = named or placed
    wrong = error.name in ("RuntimeError", "IndexError", "ValueError", "TypeError", "AttributeError", "AssertionError")
    if frame is None or not wrong or _NOT_FORM.search(error.message):
        return None
    own = error.user_frame
    place = frame.function.rpartition(".")[2]
    evidence = (error.evidence, frame.evidence, *((own.evidence,) if own is not None and own is not frame else ()))
    said = f": {error.message.splitlines()[0][:120]}" if error.message else ""
    cause = f"`{place}` could not use the prompts as they came{said}."
    if "has no attribute 'astype'" in error.message or "has no attribute 'reshape'" in error.message:
        return LogMatch(
            0.9, evidence, cause, Fix("Give NumPy arrays, not lists: `np.array([[x, y]])`, `np.array([1])`.")
        )
    if _RANK.search(error.message):
        fix = Fix("Add the batch axis to points and labels: `point_coords=points[None]`, `point_labels=labels[None]`.")
        return LogMatch(0.93, evidence, cause, fix)
    if "Sizes of tensors must match" in error.message:
        fix = Fix(
            "Give as many labels as points, and one set of points for each box: all three share the batch axis B."
        )
        return LogMatch(0.93, evidence, cause, fix)
    return LogMatch(0.85 if named is not None else 0.75, evidence, cause, Fix(f"Print the shapes. {_SHAPES}."))


# -- source ------------------------------------------------------------------------------------------------------------

_PREDICTORS = re.compile(r"(?:^|\.)(?:SamPredictor|SAM2ImagePredictor)(?:\.from_pretrained)?$")
_FIRST = re.compile(r"(?:^|\.)SamPredictor$")
_WIDTHS = re.compile(r"(?:\.loadAnns|SamAutomaticMaskGenerator\.generate|\.generate|\.anns)$")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    makers = Makers(file)
    for call in file.calls:
        origin = call.receiver_origin
        if call.method != "predict" or origin is None or not _PREDICTORS.search(origin.name):
            continue
        points, labels, box = (call.argument(n, name) for n, name in enumerate(("point_coords", "point_labels", "box")))
        if points is not None and points.value is not None:
            yield from _points(file, makers, call, points, labels, listed=bool(_FIRST.search(origin.name)))
        if box is not None:
            yield from _box(makers, call, box)


def _points(
    file: SourceFile, makers: Makers, call: CallSite, points: Argument, labels: Argument | None, *, listed: bool
) -> Iterator[Hit]:
    if isinstance(points.value, str):
        yield Hit(
            "a text is no prompt of SAM", points.span, Fix("Find boxes for the text with a detector, and give `box=`.")
        )
        return
    numpy = next((local for local, name in file.imports.items() if name == "numpy"), None)
    starred = any(argument.code.startswith("*") for argument in call.arguments) or "**" in call.code
    if not starred and (labels is None or (labels.code == "None" and points.code != "None")):
        label = f"point_labels={numpy or 'np'}.ones(len({points.code}), dtype=int)"
        yield Hit(
            "points without a label for each of them",
            points.span,
            Fix(f"Add `{label}`: 1 is the object, 0 background."),
        )
        return
    counts = [_count(makers, call, argument) for argument in (points, labels) if argument is not None]
    if len(counts) == 2 and None not in counts and counts[0] != counts[1]:
        yield Hit(f"{counts[0]} points and {counts[1]} labels", points.span, Fix("Give one label for each point."))
    elif listed and points.code.startswith("["):
        array = f"{numpy or 'np'}.array({points.code})"
        edits = (file.edit(points.span, array),) if numpy else ()
        safety = FixSafety.SAFE if edits else FixSafety.MANUAL
        fix = Fix(f"Write `{array}`.", safety, "a list raises as it stands", edits)
        yield Hit("points as a list; `SamPredictor.predict` scales a NumPy array", points.span, fix)


def _count(makers: Makers, call: CallSite, argument: Argument) -> int | None:
    """How many points or labels constants make."""
    made = makers.of_argument(argument, call)
    value = argument.value
    if made is not None and made.name in ("numpy.array", "numpy.asarray", "torch.tensor") and made.arguments:
        value = made.arguments[0].value
    return len(value) if isinstance(value, tuple) else None


def _box(makers: Makers, call: CallSite, box: Argument) -> Iterator[Hit]:
    """A box of COCO's form: x, y, width and height."""
    made = makers.of_argument(box, call)
    inner = (
        made.arguments[0]
        if made is not None and made.method in ("array", "asarray", "tensor") and made.arguments
        else box
    )
    if re.search(r"\[['\"]bbox['\"]\]$", inner.code) and _of_coco(inner.origin):
        fix = Fix("Unpack it, `x, y, w, h = ...`, and give `box=np.array([x, y, x + w, y + h])`.")
        yield Hit("this box is x, y, width, height; SAM takes x0, y0, x1, y1", box.span, fix)


def _of_coco(origin: Origin | None) -> bool:
    """Whether a value is an entry of COCO annotations or of the automatic mask generator's result."""
    if origin is None or set(origin.through) - {"[]", "get"}:
        return False
    if origin.name.endswith(".generate"):
        maker = origin.call.receiver_origin
        return maker is not None and "MaskGenerator" in maker.name
    return _WIDTHS.search(origin.name) is not None


RULE = Rule(
    slug="sam-prompt-format",
    family="tasks",
    title="Prompts are given to SAM in another form than it takes",
    level=Level.ERROR,
    log=LogFacet(
        (
            *("point_labels must", "points and labels", "number of points", "points or box", "old points", "one box"),
            *("bounding boxes as input", "input_points", "input_boxes", "input_labels", "input points", "input boxes"),
            *("same number of dimensions", "prompt_encoder", "add_new_", "apply_coords", "apply_boxes", "input labels"),
        ),
        _examine_log,
    ),
    source=SourceFacet(("SamPredictor", "SAM2ImagePredictor"), _examine_source),
    before=absent("prompts come with the images, not with the settings of a run"),
    during=absent("the first prompt fails, or lies beside its object for a person to see"),
    module=__name__,
)
