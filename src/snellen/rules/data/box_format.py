"""Boxes are in another format than the code that takes them expects.

What happens
------------
A detector trains and finds nothing where it should, boxes lie beside their objects, IoU is near 0, SAM segments the
background. Sometimes it is refused: `AssertionError: All bounding boxes should have positive height and width. Found
invalid box [412.0, 157.0, 53.0, 138.0] for target at index 0.`, or by albumentations `x_max is less than or equal to
x_min for bbox`.

Why
---
Four numbers do not say what they are. COCO, `cv2.boundingRect` and `detectMultiScale` give x, y, width, height;
torchvision's models and operators, SAM and PIL take the two corners; YOLO's files hold centre and size in shares of the
image. A width is a legal x as long as it is larger than the left edge, so that boxes on the left pass unnoticed.

How to confirm
--------------
Draw one: `torchvision.utils.draw_bounding_boxes(image, boxes)`. Or compare the largest values: for corners the third
number goes up to the width of the image, for width and height it rarely does.

Fix
---
`torchvision.ops.box_convert(boxes, "xywh", "xyxy")`, `[x, y, x + w, y + h]`, `image[y:y + h, x:x + w]`; for
albumentations the format that the boxes have: `BboxParams(format="coco")`. Better, say what they are:
`tv_tensors.BoundingBoxes(boxes, format="XYWH", canvas_size=size)`.

When it is something else
-------------------------
The same message with a width or height of 0 is a broken annotation: drop boxes with `w < 1 or h < 1`. Boxes that are
off by a factor were not scaled with their image. Boxes for SAM have a rule of their own: `sam-prompt-format`. No boxes
at all: see `detector-empty`.

Sources
-------
- `torchvision.ops.box_convert`: https://docs.pytorch.org/vision/stable/generated/torchvision.ops.box_convert.html
- Targets of torchvision's detectors:
  https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.detection.fasterrcnn_resnet50_fpn.html
- COCO, format of annotations: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.audits import MAX_EVIDENCE, audited, share, short
from snellen.core.boxes import READINGS, impossible, other_reading, placed_boxes
from snellen.core.code.flow import Flow, Step, Trail
from snellen.core.code.trails import parts_of
from snellen.core.finding import Edit, Evidence, Finding, Fix, FixSafety, Level, Location
from snellen.core.known.backbones import place
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import find_message
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, Assignment, CallSite, Hit, SourceFile, Span

__all__ = ["RULE"]

# -- log --------------------------------------------------------------------------------------------------------------

_NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_INVALID = re.compile(
    r"should have positive height and width\.\s+Found inva[li]{1,2}d box \[(?P<box>[^\]]{7,200})\]", re.IGNORECASE
)
_NOT_LARGER = re.compile(
    r"(?P<axis>[xy])_max is less than or equal to [xy]_min for bbox [\[(](?P<box>[^\])]{7,200})", re.IGNORECASE
)
_OUTSIDE = re.compile(
    rf"Expected \w+ for bbox [\[(][^\])]{{7,200}}[\])].{{0,20}} to be in the range \[0\.0, 1\.0\], got "
    rf"(?P<value>{_NUMBER})",
    re.IGNORECASE,
)
_YOLO = re.compile(r"In YOLO format all coordinates must be float and in range \(0, 1\]", re.IGNORECASE)


def _examine_log(log: Log) -> LogMatch | None:
    for pattern in (_INVALID, _NOT_LARGER):
        said = find_message(log, pattern)
        if said is not None:
            return _reversed(log, said.match["box"], said.facts)
    said = find_message(log, _YOLO)
    if said is not None:
        fix = Fix('Say what the boxes are: `BboxParams(format="coco")` for pixels, or divide by width and height.')
        return LogMatch(
            0.8, said.facts, "The boxes are in pixels, and the format `yolo` takes shares of the image.", fix
        )
    said = find_message(log, _OUTSIDE)
    # A little above 1 is an annotation that reaches over the edge.
    if said is None or abs(float(said.match["value"])) < 2:
        return None
    cause = f"A box reaches to {said.match['value']} where shares of the image are expected: it is in pixels."
    fix = Fix("Give `BboxParams` the format that the boxes have: `coco` for x, y, width, height in pixels.")
    return LogMatch(0.7, said.facts, cause, fix)


def _reversed(log: Log, text: str, facts: tuple[Evidence, ...]) -> LogMatch | None:
    """Both sides run backwards: the last two numbers are a size, not a corner."""
    numbers = [float(number) for number in re.findall(_NUMBER, text)[:4]]
    if len(numbers) < 4:
        return None
    x, y, right, bottom = numbers
    slack = 1e-3 * max(abs(x), abs(y))
    back = right < x - slack, bottom < y - slack
    coco = any(back) and not (right == x or bottom == y) and log.search(r"\bcoco|\bxywh") is not None
    if right <= 0 or bottom <= 0 or not (all(back) or coco):
        return None
    cause = f"In [{text}] the second corner lies left of or above the first: the last two numbers are width and height."
    corners = ", ".join(f"{value:g}" for value in (x, y, x + right, y + bottom))
    fix = Fix(f'Convert with `torchvision.ops.box_convert(boxes, "xywh", "xyxy")`: this box is [{corners}].')
    return LogMatch(0.75 if all(back) else 0.6, facts, cause, fix)


# -- source: which boxes are x, y, width, height ----------------------------------------------------------------------

_COCO = re.compile(r"pycocotools|\bcoco|COCO|CocoDetection|iscrowd|category_id|loadAnns|instances_(?:train|val)")
_CONVERTED = re.compile(
    r"box_convert|BoxMode|xywh_?(?:2|to)_?xyxy|ConvertBoundingBox|BoundingBoxes\(|wrap_dataset_for_transforms|to_xyxy"
    r"|box_format\s*=\s*['\"]xywh|convert_format|convert_coco|coco_to"
)
_KEYED = re.compile(r"\[['\"]bbox['\"]\]$|\.get\(['\"]bbox['\"]")
_MAKERS = frozenset({"cv2.boundingRect", "cv2.selectROI"})
_KEEPING = frozenset(
    (
        *("numpy.array", "numpy.asarray", "numpy.float32", "numpy.stack", "numpy.concatenate", "numpy.expand_dims"),
        *("torch.tensor", "torch.as_tensor", "torch.from_numpy", "torch.FloatTensor", "torch.Tensor", "torch.stack"),
        *("torch.cat", "[]", "int", "float", "round", "map", "torch.unsqueeze", "numpy.vstack", ".boxes", ".data"),
    )
)
_KEEPING_METHODS = frozenset(
    (
        *("reshape", "view", "to", "float", "astype", "unsqueeze", "squeeze", "clone", "copy", "cpu", "cuda", "numpy"),
        *("tolist", "get", "int", "long", "item", "detach", "round"),
    )
)
_OPERATORS = {
    **dict.fromkeys(("box_iou", "generalized_box_iou", "complete_box_iou", "distance_box_iou"), (0, 1)),
    **dict.fromkeys(("nms", "batched_nms", "box_area", "clip_boxes_to_image", "remove_small_boxes"), (0,)),
    **dict.fromkeys(("roi_align", "roi_pool", "generalized_box_iou_loss", "complete_box_iou_loss"), (1,)),
}
_SEGMENTERS = re.compile(r"(?:Sam|SAM2?)\w*(?:Predictor|Transforms?)")
_DETECTORS = re.compile(
    r"models\.detection|rcnn|retinanet|fcos|ssd300|ssdlite|keypointrcnn|FastRCNNPredictor", re.IGNORECASE
)
_SIZES = (("w", "h"), ("bw", "bh"), ("width", "height"), ("box_w", "box_h"), ("ww", "hh"))


def _makes(call: CallSite) -> bool:
    return call.name in _MAKERS or call.method == "detectMultiScale"


def _examine(file: SourceFile) -> Iterator[Hit]:
    flow, told = Flow(file), set[Span]()
    for hit in (*_sliced(file), *_targets(file, flow), *_given(file, flow)):
        if hit.span not in told:
            told.add(hit.span)
            yield hit


def _sized(
    file: SourceFile, flow: Flow, of: Argument | Assignment, call: CallSite | None, keys: tuple[object, ...] = ()
) -> Trail | None:
    """One way by which a value is x, y, width and height, if there is one and nothing turned it into corners."""
    trails = flow.trails(of, call, _makes, keys)
    coco = any(_COCO.search(part.text) for part in parts_of(file))
    found = [trail for trail in trails if _is_size(trail, coco=coco)]
    if any(not _keeps(step) for trail in found for step in _since(trail)):
        return None
    return found[0] if found else None


def _since(trail: Trail) -> tuple[Step, ...]:
    """The steps since the box was taken from its annotation."""
    taken = [n for n, step in enumerate(trail.changes) if _takes(step)]
    return trail.changes[taken[-1] :] if taken else trail.changes


def _takes(step: Step) -> bool:
    return step.name in (".xywh", ".xywhn") or (step.name in ("[]", ".get") and _KEYED.search(step.code) is not None)


def _is_size(trail: Trail, *, coco: bool) -> bool:
    if trail.start.call is not None and _makes(trail.start.call):
        return True
    named = any(re.search(r"xywh", name, re.IGNORECASE) and "xyxy" not in name for name in trail.names)
    keyed = any(_KEYED.search(step.code) for step in trail.steps)
    return named or (coco and keyed) or any(step.name in (".xywh", ".xywhn") for step in trail.steps)


def _keeps(step: Step) -> bool:
    if step.name == "[]":
        # One of the four numbers is no box.
        return re.search(r"\[[^\]]*,\s*\d\s*\]$", step.code) is None
    known = step.name in _KEEPING or step.name in (".xywh", ".xywhn")
    return known or (step.name.startswith(".") and step.method in _KEEPING_METHODS)


# -- source: what takes corners --------------------------------------------------------------------------------------


def _targets(file: SourceFile, flow: Flow) -> Iterator[Hit]:
    """`boxes` of targets as torchvision's detectors take them."""
    parts = parts_of(file)
    if "boxes" not in file.text or "labels" not in file.text or _CONVERTED.search(file.text):
        return
    detector = any(_DETECTORS.search(part.text) for part in parts) or re.search(
        r"['\"](?:image_id|iscrowd)['\"]", file.text
    )
    if not detector:
        return
    for item in file.assignments:
        if re.search(r"\[['\"]boxes['\"]\]$", item.target):
            trail = _sized(file, flow, item, None)
        elif re.search(r"['\"]boxes['\"]\s*:|\bboxes\s*=", item.code) and "labels" in item.code:
            ways = (_sized(file, flow, item, None, keys) for keys in (("boxes",), (1, "boxes")))
            trail = next((way for way in ways if way is not None), None)
        else:
            continue
        if trail is not None and not _converted_later(file, item):
            message = "these boxes are x, y, width, height, and torchvision's detectors take two corners"
            yield _hit(file, item, trail, message, tensor=True)


def _converted_later(file: SourceFile, item: Assignment) -> bool:
    """Whether a later line of the function adds the corners: `target["boxes"][:, 2:] += target["boxes"][:, :2]`."""
    return any(
        other.function == item.function and "boxes" in other.target and (other.operator == "+" or "+" in other.code)
        for other in file.assignments
        if other.span.start > item.span.start
    )


def _given(file: SourceFile, flow: Flow) -> Iterator[Hit]:
    for call in file.calls:
        for argument, what in _corners(file, call):
            trail = _sized(file, flow, argument, call)
            if trail is not None:
                message = (
                    f"`{' '.join(argument.code.split())[:60]}` is x, y, width, height, and {what} takes two corners"
                )
                yield _hit(file, argument, trail, message, tensor=call.name.startswith("torchvision."))
        if call.name == "albumentations.Compose.forward":
            yield from _albumentations(file, flow, call)


def _corners(file: SourceFile, call: CallSite) -> Iterator[tuple[Argument, str]]:
    """Arguments that have to be corners, and who says so."""
    given: list[Argument | None] = []
    what = f"`{call.name.lstrip('.')}`"
    made = call.receiver_origin.name if call.receiver_origin is not None else ""
    if call.name.startswith("torchvision.ops.") and call.method in _OPERATORS:
        given = [call.argument(position, f"boxes{position + 1}") for position in _OPERATORS[call.method]]
        given.append(call.argument(99, "boxes"))
    elif call.name == "torchvision.utils.draw_bounding_boxes":
        given = [call.argument(1, "boxes")]
    elif call.name == ".crop" and call.receiver is not None and "PIL" in file.text:
        given, what = [call.argument(0, "box")], "`Image.crop`"
    elif call.name == ".rectangle" and "ImageDraw" in file.text:
        given, what = [call.argument(0, "xy")], "`ImageDraw.rectangle`"
    elif call.argument(99, "input_boxes") is not None and "Processor" in made:
        given, what = [call.argument(99, "input_boxes")], "SAM"
    elif call.method in ("apply_boxes", "apply_boxes_torch") and _SEGMENTERS.search(file.text):
        given, what = [call.argument(0, "boxes")], "SAM"
    elif call.method in ("predict", "predict_torch") and _SEGMENTERS.search(made):
        # What was taken from annotations is known to sam-prompt-format.
        boxes = call.argument(99, "box") or call.argument(99, "boxes")
        given, what = [boxes if boxes is not None and "bbox" not in file.text else None], "SAM"
    yield from ((argument, what) for argument in given if argument is not None)


def _albumentations(file: SourceFile, flow: Flow, call: CallSite) -> Iterator[Hit]:
    boxes = call.argument(99, "bboxes")
    made = call.receiver_origin.call if call.receiver_origin is not None else None
    if boxes is None or made is None:
        return
    parameters = next((one for one in file.calls_in(made.span) if one.method == "BboxParams"), None)
    if parameters is None:
        origin = next((a.origin for a in made.arguments if a.name == "bbox_params" and a.origin is not None), None)
        parameters = origin.call if origin is not None else None
    told = parameters.argument(0, "format") if parameters is not None else None
    if told is None or told.value not in ("pascal_voc", "albumentations", "yolo"):
        return
    trail = _sized(file, flow, boxes, call)
    if trail is not None:
        fix = Fix(
            'Write `format="coco"`.', FixSafety.UNSAFE, "what comes out is x, y, width, height, too",
            edits=(file.edit(told.span, '"coco"'),),
        )  # fmt: skip
        message = f"the boxes are COCO's x, y, width, height, and `BboxParams` is told {told.code}"
        yield Hit(message, told.span, fix, (_origin(trail),))


def _sliced(file: SourceFile) -> Iterator[Hit]:
    """`image[y:h, x:w]` and `rectangle(image, (x, y), (w, h))` after `x, y, w, h = ...`."""
    named = [(item.target, item.function) for item in file.assignments]
    named += [(loop.target, loop.function) for loop in file.loops]
    lines = file.text.split("\n")
    for target, function in dict.fromkeys(named):
        parts = re.findall(r"\w+", target)
        if len(parts) < 4 or (parts[-2], parts[-1]) not in _SIZES or target.count(",") < 3:
            continue
        x, y, w, h = parts[-4:]
        block = next((one for one in file.functions if one.name == function), None)
        first, last = (block.span.start_line, block.span.end_line) if block is not None else (1, len(lines))
        cut = re.compile(rf"\[\s*{y}\s*:\s*{h}\s*,\s*{x}\s*:\s*{w}\s*(?=[,\]])")
        for number in range(first, last + 1):
            found = cut.search(lines[number - 1])
            if found:
                span = Span(number, found.start(), number, found.end())
                yield _cut(file, span, f"[{y}:{y} + {h}, {x}:{x} + {w}", f"`{h}` and `{w}` are sizes, not ends")
        for call in file.calls_to("cv2.rectangle"):
            corners = call.argument(1, "pt1"), call.argument(2, "pt2")
            codes = [re.sub(r"\s", "", corner.code) if corner is not None else "" for corner in corners]
            if codes == [f"({x},{y})", f"({w},{h})"] and call.function == function and corners[1] is not None:
                written = f"({x} + {w}, {y} + {h})"
                yield _cut(
                    file, corners[1].span, written, f"`({w}, {h})` is a size, and `cv2.rectangle` takes a corner"
                )


def _cut(file: SourceFile, span: Span, written: str, why: str) -> Hit:
    edit = file.edit(span, written)
    shown = f"{written}]" if written.startswith("[") else written
    fix = Fix(f"Write `{shown}`.", FixSafety.UNSAFE, "the names alone say that these are sizes", edits=(edit,))
    return Hit(why, span, fix)


def _origin(trail: Trail) -> Evidence:
    keyed = next((step for step in trail.steps if "bbox" in step.code or "xywh" in step.code), trail.start)
    return Evidence(f"comes from: {' '.join(keyed.code.split())[:100]}", place(keyed.path, keyed.span))


def _hit(file: SourceFile, value: Argument | Assignment, trail: Trail, message: str, *, tensor: bool) -> Hit:
    edits: tuple[Edit, ...] = ()
    text = "Make corners of them: `[x, y, x + w, y + h]`."
    attribute = next(
        (step for step in trail.steps if step.name in (".xywh", ".xywhn") and step.path == file.path), None
    )
    root = next((local for local, name in file.imports.items() if name == "torchvision"), None)
    ops = next(
        (local for local, name in file.imports.items() if name == "torchvision.ops"), f"{root}.ops" if root else None
    )
    if attribute is not None:
        corners = attribute.code.replace(".xywh", ".xyxy")
        edits, text = (file.edit(attribute.span, corners),), f"Write `{corners}`."
    elif tensor:
        made = [one for one in trail.changes if one.name.startswith("torch.") or one.name in (".float", ".to")]
        span, code = (made[-1].span, made[-1].code) if made and made[-1].path == file.path else (value.span, value.code)
        converted = f'{ops or "torchvision.ops"}.box_convert({code}, "xywh", "xyxy")'
        edits = (file.edit(span, converted),) if ops is not None and made else ()
        text = f"Write `{converted}`."
    safety = FixSafety.UNSAFE if edits else FixSafety.MANUAL
    fix = Fix(text, safety, "a network that was trained on the wrong boxes has to be trained again", edits=edits)
    return Hit(message, value.span, fix, (_origin(trail),))


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    """Boxes of annotations that only another convention explains."""
    folders = [(folder, boxes) for folder in audited(plan) if (boxes := list(placed_boxes(folder)))]
    if not folders:
        raise NotApplicable("no data folder holds boxes")
    for folder, boxes in folders:
        found = other_reading(boxes)
        if found is None:
            continue
        reading, wrong, of = found
        bad = [(one, why) for one in boxes if (why := impossible(one))]
        told = [
            f"[{', '.join(f'{value:g}' for value in one.box.values)}] {why} of {one.size[1]} x {one.size[0]}"
            for one, why in bad[:MAX_EVIDENCE]
        ]
        yield Finding(
            "box-format",
            Level.ERROR,
            f"{folder.key}: {share(wrong, of)} boxes are impossible as {READINGS[boxes[0].box.convention]}, and all "
            f"make sense as {READINGS[reading]}: {short(bad[0][0].box.path)}: {told[0]}",
            setting_place(plan, folder.key),
            tuple(
                Evidence(text, Location(one.box.path, one.box.line)) for (one, _), text in zip(bad, told, strict=False)
            ),
            Fix(f"Convert all boxes from {READINGS[reading]} to {READINGS[boxes[0].box.convention]}."),
        )


RULE = Rule(
    slug="box-format",
    family="data",
    title="Boxes are in another format than expected",
    level=Level.ERROR,
    log=LogFacet(("positive height and width", "for bbox", "yolo format"), _examine_log),
    source=SourceFacet(("bbox", "xywh", "boundingRect", "detectMultiScale", "selectROI", "w, h", "w,h"), _examine),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("a detector that learns the wrong boxes has a falling loss, too"),
    module=__name__,
)
