"""A detector returns no boxes at all.

What happens
------------
Nothing is raised, or an error of something that expected boxes. ultralytics prints `image 1/1: 720x1280 (no
detections)`, torchvision and detectron2 return `boxes: tensor([], size=(0, 4))` and `num_instances=0`, mmdetection
logs `The testing results of the whole dataset is empty.`; behind it stand `not enough values to unpack (expected 4,
got 0)` where boxes are converted, `list index out of range` in `loadRes` of pycocotools, or `index 0 is out of bounds
for dimension 0 with size 0`.

Why
---
All scores are below the threshold: a threshold meant in percent, weights that were trained for too short or are not
the ones that were trained. Or the images reach the model in another form than in training (BGR for RGB, 0 to 255 for
0 to 1, another size), or the prompt names nothing that is there. Or training never saw a box: class names in the
configuration that the annotations do not have, images without annotations filtered away, one class too few because
the background counts as one.

How to confirm
--------------
Predict one training image with a threshold of 0.001. Boxes that are right: it was the threshold. Boxes that are
random: weights or preprocessing. None: the model has learned that there is nothing; look at `loss_bbox` in its log,
which is 0 when no box was ever matched.

Fix
---
Lower the threshold (0 to 1, not percent), load the trained weights and check that they fit, give the images the form
of the training. In training compare class names and numbers of annotations; for torchvision's R-CNNs `num_classes`
is the number of classes plus one. Code behind a detector has to bear an empty result.

When it is something else
-------------------------
Some images without a detection among others are no failure. Weights that do not fit and are loaded with
`strict=False` leave a random detector: `silent-random-weights`. Channels in the wrong order are `colour-order`. A
loss that turned NaN detects nothing either: `nan-loss`.

Sources
-------
- torchvision, object detection and its outputs: https://docs.pytorch.org/vision/stable/models.html#object-detection
- torchvision, fine-tuning a detector (the background counts):
  https://docs.pytorch.org/tutorials/intermediate/torchvision_tutorial.html
- ultralytics, arguments of prediction: https://docs.ultralytics.com/modes/predict/
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.code.layers import whole
from snellen.core.finding import Fix, FixSafety, Level
from snellen.core.log import Log, LoggedException, LogLine, LogMatch
from snellen.core.rule import LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, SourceFile

__all__ = ["RULE"]

_IMAGE = re.compile(
    r"\bimage \d+/\d+\b[^\n]{0,300}?(?<!\d)\d{2,5}x\d{2,5} (?P<found>\(no detections\)|Done\b|\d+ [A-Za-z])"
)
_EMPTY = re.compile(
    r"\bboxes\W{1,4}(?:Boxes\()?tensor\(\[\]|Boxes\(tensor\(\[\]|num_instances ?= ?0\b|xyxy=array\(\[\]|"
    r"tensor\(\[\](?:, device='[^']{1,20}')?, size=\(0, [4-7]\)"
)
_FULL = re.compile(
    r"\bboxes\W{1,4}(?:Boxes\()?tensor\(\[\[|Boxes\(tensor\(\[\[|num_instances ?= ?[1-9]|xyxy=array\(\[\["
)
_STATED = (
    (re.compile(r"testing results of the whole dat\w+ is empty", re.IGNORECASE), 0.88),
    (re.compile(r"no predictions from the model!|did not receive valid predictions", re.IGNORECASE), 0.88),
    (
        re.compile(
            r"\b(?:no|zero|0) (?:objects?|detections?|bounding boxes|boxes)(?: were| was)? (?:found|detected)",
            re.IGNORECASE,
        ),
        0.65,
    ),
)
_NOTHING = re.compile(
    r"not enough values to unpack \(expected [456], got 0\)"
    r"|index -?[01] is out of bounds for (?:dimension|axis) 0 with size 0|input\.numel\(\) == 0"
    r"|on a tensor with no elements|zero-size array to reduction|of an empty sequence"
    r"|expected a non-empty (?:list of tensors|tensorlist)|list index out of range"
    r"|'NoneType' object has no attribute '(?:xyxy|xywh|boxes|data|cpu|xy|conf)'",
    re.IGNORECASE,
)
_BOXES = re.compile(
    r"box|xyxy|xywh|cxcywh|detect|instances|\bpreds?\b|\bdets?\b|anns\[0\]|\.masks\.|rois?\b|scores", re.IGNORECASE
)
_TRAINING = re.compile(r"target|annotation|label|dataset|\bgt_|__getitem__|collate", re.IGNORECASE)
_ANNOTATED = re.compile(r"annotat|label|ground.?truth|\bgt\b|scanning|cache", re.IGNORECASE)
_NO_PROMPTS = re.compile(r"assert image_embeddings\.shape\[0\] == tokens\.shape\[0\]")
_THRESHOLD = re.compile(
    r"(?P<name>conf(?:_?thres(?:h(?:old)?)?)?|box_thresh(?:old)?|score_thr(?:esh(?:old)?)?)['\"]?\s?[=:]\s?(?P<value>0?\.\d+|\d{1,3})",
    re.IGNORECASE,
)


def _examine_log(log: Log) -> LogMatch | None:
    return _after_a_crash(log) or _as_stated(log) or _by_images(log) or _by_outputs(log)


def _after_a_crash(log: Log) -> LogMatch | None:
    """An error of code that was handed no boxes."""
    for error in log.exceptions:
        frame = error.frames[-1] if error.frames else None
        if frame is not None and _NO_PROMPTS.search(frame.code):
            cause = "The mask decoder was given prompts for no object: the detector before it returned no boxes."
            return LogMatch(0.72, (error.evidence, frame.evidence), cause, _guard(log))
        found = _NOTHING.search(error.text)
        place = _place(error) if found is not None else None
        if found is None or place is None:
            continue
        score, where = place
        cause = f"{where} was given an empty list of boxes: the detector before it found nothing."
        own = (error.user_frame.evidence,) if error.user_frame is not None else ()
        return LogMatch(score, (error.evidence, *own), cause, _guard(log))
    return None


def _place(error: LoggedException) -> tuple[float, str] | None:
    """How sure it is that boxes were missing, and where, from the frames nearest to the error."""
    frame = error.frames[-1] if error.frames else None
    if frame is None:
        return None
    if frame.function == "loadRes" or "anns[0]" in frame.code:
        return 0.9, "`loadRes` of pycocotools"
    near = " ".join(f"{each.function} {each.code}" for each in error.frames[-2:])
    if not _BOXES.search(near) or _TRAINING.search(near):
        return None
    where = f"`{(frame.code or frame.function)[:80]}`"
    sure = "not enough values" in error.message or re.search(r"\.(?:boxes|masks)\b", frame.code) is not None
    return (0.85 if sure else 0.7), where


def _guard(log: Log) -> Fix:
    return Fix(f"Skip an image without boxes, `if len(boxes) == 0: continue`. To get some: {_threshold(log)}")


def _threshold(log: Log) -> str:
    """What to try first, with the threshold that the log shows."""
    texts = (*(frame.code for error in log.exceptions for frame in error.frames), *(line.text for line in log.lines))
    found = next((match for text in texts if (match := _THRESHOLD.search(text))), None)
    given = f"lower `{found['name']}` ({found['value']})" if found is not None else "lower the threshold of the scores"
    return (
        f"{given} to 0.001 for one training image. If boxes appear, it was the threshold; if not, check that the "
        "trained weights are loaded, that images have the colour order, range and size of the training, and that the "
        "classes asked for are those that were trained."
    )


def _as_stated(log: Log) -> LogMatch | None:
    """Libraries that say so."""
    for pattern, score in _STATED:
        line = next((line for line in log.find(pattern.pattern) if not _ANNOTATED.search(line.text)), None)
        if line is None:
            continue
        idle = next(log.find(r"loss_bbox['\"]?: ?0\.0+\b"), None)
        if idle is not None:
            fix = Fix(
                "No box was ever matched in training (`loss_bbox` is 0): compare the classes of the configuration "
                "(`CLASSES`, `metainfo`) with the category names of the annotations, letter by letter, and count the "
                "annotated images that are left of the set."
            )
            return LogMatch(score, (idle.evidence, line.evidence), "The model was trained without a single box.", fix)
        broken = log.search(r"loss[\w.]{0,20}['\"]?: ?nan\b") is not None
        cause = "The detector returned no box for any image."
        return LogMatch(
            0.6 if broken else score, (line.evidence,), cause, Fix(f"{_threshold(log)[0].upper()}{_threshold(log)[1:]}")
        )
    return None


def _by_images(log: Log) -> LogMatch | None:
    """Lines of ultralytics, one for each image, none of which holds a detection."""
    told = [(line, found["found"]) for line in log.lines if (found := _IMAGE.search(line.text))]
    if not told or any(found[0].isdigit() for _, found in told):
        return None
    cause = f"Not one detection in {len(told)} image{'s' if len(told) > 1 else ''}."
    card = log.search(r"\bGTX 16[56]0")
    if card is not None:
        cause += " Cards of the GTX 16 series give NaN in half precision under CUDA 11."
        fix = Fix("Predict in float32 (`half=False`), or once with `device=cpu`: if that finds boxes it is the card.")
        return LogMatch(0.85, (told[0][0].evidence, card.evidence), cause, fix)
    text = _threshold(log)
    return LogMatch(
        0.85 if len(told) >= 5 else 0.75, (told[0][0].evidence,), cause, Fix(f"{text[0].upper()}{text[1:]}")
    )


def _by_outputs(log: Log) -> LogMatch | None:
    """Printed results, all of which are empty."""
    line: LogLine | None = next((line for line in log.lines if _EMPTY.search(line.text)), None)
    if line is None or log.exceptions or any(_FULL.search(other.text) for other in log.lines):
        return None
    text = _threshold(log)
    return LogMatch(0.82, (line.evidence,), "The results hold no box at all.", Fix(f"{text[0].upper()}{text[1:]}"))


_THRESHOLDS = frozenset(
    {
        "box_score_thresh",
        "rpn_score_thresh",
        "conf_thres",
        "box_threshold",
        "text_threshold",
        "score_thr",
        "pred_score_thr",
    }
)
_POSTPROCESSING = re.compile(r"^post_process_\w*detection$")
_RCNN = re.compile(r"^torchvision\.models\.detection\.(?:fasterrcnn|maskrcnn)_\w+$")
_BOX_HEAD = ".FastRCNNPredictor"


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for call in file.calls:
        for argument in call.arguments:
            if _is_threshold(call, argument) and _percent(argument.value):
                yield _threshold_hit(file, argument)
        yield from _without_background(file, call)
    for setting in file.settings:
        if setting.key.rpartition(".")[2] in _THRESHOLDS and _percent(setting.value):
            yield _threshold_hit(file, Argument(setting.code, setting.span, value=setting.value))
    for item in file.assignments:
        hub = item.owner is not None and item.owner.name == "torch.hub.load" and item.target.endswith(".conf")
        if (hub or item.target.endswith(".SCORE_THRESH_TEST")) and _percent(item.value):
            yield _threshold_hit(file, Argument(item.code, item.span, value=item.value))


def _is_threshold(call: CallSite, argument: Argument) -> bool:
    if argument.name in _THRESHOLDS or (argument.name == "threshold" and _POSTPROCESSING.match(call.method)):
        return True
    origin = call.receiver_origin
    return argument.name == "conf" and origin is not None and origin.name in ("ultralytics.YOLO", "ultralytics.RTDETR")


def _percent(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 1 < value <= 100


def _threshold_hit(file: SourceFile, argument: Argument) -> Hit:
    share = f"{argument.value / 100:g}" if isinstance(argument.value, (int, float)) else "0.5"
    fix = Fix(
        f"Write `{share}`: scores go from 0 to 1.",
        FixSafety.UNSAFE,
        "from then on boxes are returned, and code behind has to take them",
        edits=(file.edit(argument.span, share),),
    )
    return Hit(f"no score is above {argument.code}, so no box is ever returned", argument.span, fix)


def _without_background(file: SourceFile, call: CallSite) -> Iterator[Hit]:
    """One class in an R-CNN of torchvision is the background alone."""
    if _RCNN.match(call.name):
        given = call.argument(99, "num_classes")
    elif call.name.endswith(_BOX_HEAD):
        given = call.argument(1, "num_classes")
    else:
        return
    if given is not None and whole(given) == 1:
        fix = Fix(
            "Write `2` for one kind of object: class 0 is the background, labels start at 1.",
            FixSafety.UNSAFE,
            "the number of your classes is not in the text",
            edits=(file.edit(given.span, "2"),),
        )
        yield Hit("`num_classes` counts the background: with 1 nothing can ever be detected", given.span, fix)


RULE = Rule(
    slug="detector-empty",
    family="tasks",
    title="A detector returns no boxes",
    level=Level.WARNING,
    log=LogFacet(
        (
            *(
                "no detections",
                "tensor([]",
                "num_instances",
                "array([]",
                "is empty",
                "no predictions",
                "valid predictions",
            ),
            *("to unpack", "with size 0", "numel() == 0", "no elements", "zero-size", "empty sequence", "non-empty"),
            *("index out of range", "nonetype", "tokens.shape", "detected", "found", "done"),
        ),
        _examine_log,
    ),
    source=SourceFacet(
        (*sorted(_THRESHOLDS), "post_process_", "YOLO", "RTDETR", "rcnn", "FastRCNNPredictor", ".conf", "SCORE_THRESH"),
        _examine_source,
    ),
    before=absent("thresholds of a run file are refused outside 0 to 1 when it is read"),
    during=absent("a training step makes losses, not detections"),
    module=__name__,
)
