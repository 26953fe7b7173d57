"""A mask of class numbers is resized with a filter that mixes neighbouring pixels.

What happens
------------
Nothing fails. Between class 0 and class 7 the resized mask has a rim of 1, 2, 3 and so on: classes that are not there.
The network is taught them, its outlines fray, and the score of small classes stays low; in a binary mask of 0 and 255
grey pixels appear, which become background or ignored pixels one line later.

Why
---
Every library smooths unless it is told otherwise: `cv2.resize` is bilinear, `PIL.Image.resize` bicubic (nearest for
palette images only), `torchvision.transforms.Resize` bilinear, `skimage.transform.resize` linear, `scipy.ndimage.zoom`
cubic. One transform used for image and mask alike smooths both. And the third argument of `cv2.resize` is `dst`:
`cv2.resize(mask, size, cv2.INTER_NEAREST)` smooths without a word.

How to confirm
--------------
`np.unique(mask)` before and after: there must be no new values.

Fix
---
`cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)`, `mask.resize(size, Image.NEAREST)`,
`functional.resize(mask, size, interpolation=InterpolationMode.NEAREST)`, `F.interpolate(mask, size, mode="nearest")`.
With torchvision v2, wrap the mask as `tv_tensors.Mask` and one transform does both rightly.

When it is something else
-------------------------
Logits, probabilities and alpha mattes are numbers, not classes: smoothing is right for them, before the threshold or
the argmax. Wrong classes without any resizing: see `mask-values`.

Sources
-------
- `cv2.resize`, order of arguments: https://docs.opencv.org/4.x/da/d54/group__imgproc__transform.html
- `PIL.Image.Image.resize`, the default filter:
  https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.Image.resize
- `tv_tensors.Mask`: https://docs.pytorch.org/vision/stable/tv_tensors.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.audits import audited, file_evidence, share, short
from snellen.core.code.flow import Flow
from snellen.core.code.masks import names_mask, names_no_classes
from snellen.core.code.trails import parts_of
from snellen.core.facts.data import MaskRecord
from snellen.core.finding import Edit, Evidence, Finding, Fix, FixSafety, Level
from snellen.core.known.backbones import place
from snellen.core.masks import is_smoothed
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.rule import BeforeFacet, Rule, SourceFacet, absent
from snellen.core.source import Argument, CallSite, Hit, SourceFile, Span

__all__ = ["RULE"]

_READERS = frozenset(
    (
        *("cv2.imread", "cv2.imdecode", "PIL.Image.open", "imageio.imread", "imageio.v2.imread", "imageio.v3.imread"),
        *("skimage.io.imread", "torchvision.io.read_image", "torchvision.io.decode_image", "numpy.load"),
        *("nibabel.load", "tifffile.imread", "rasterio.open", "SimpleITK.ReadImage"),
    )
)
_CLASSES = re.compile(
    r"\.long\(\)|torch\.long|torch\.int64|LongTensor|np\.int64|numpy\.int64|one_hot|CrossEntropy|cross_entropy|np\.unique"
)
_SMOOTH_MODES = frozenset(("bilinear", "bicubic", "area", "trilinear", "linear"))
_NEAREST = re.compile(r"NEAREST|nearest")
_TV_AWARE = re.compile(r"tv_tensors|datapoints|wrap_dataset_for_transforms_v2|transforms\.v2")


@dataclass(frozen=True, slots=True)
class _Resize:
    """One resizing that smooths.

    Args:
        mask: What is resized.
        call: The call.
        how: What it does, for people.
        edits: What to change, empty when a person has to.
        text: The fix in words.
        safe: Whether the filter that is right is written there already, where it has no effect.
    """

    mask: Argument | str
    call: CallSite
    how: str
    edits: tuple[Edit, ...]
    text: str
    safe: bool = False

    @property
    def code(self) -> str:
        """The text of what is resized."""
        return self.mask if isinstance(self.mask, str) else self.mask.code


def _examine(file: SourceFile) -> Iterator[Hit]:
    flow, told = Flow(file), set[Span]()
    for resize in _resizes(file):
        if resize.safe:
            # Whatever it is called, the filter that was chosen has no effect.
            told.add(resize.call.span)
            yield _hit(resize, ())
            continue
        if names_no_classes(f"{resize.code} {resize.call.target or ''}") or not _is_mask(resize):
            continue
        evidence = _labels(file, flow, resize)
        if evidence and not _cut_off(file, resize.call) and resize.call.span not in told:
            told.add(resize.call.span)
            yield _hit(resize, evidence)


def _is_mask(resize: _Resize) -> bool:
    return names_mask(resize.code) or names_mask(resize.call.target or "")


def _labels(file: SourceFile, flow: Flow, resize: _Resize) -> tuple[Evidence, ...]:
    """What shows that the mask holds classes: it was read from a file, or is used as class numbers."""
    if isinstance(resize.mask, Argument):
        trails = flow.trails(resize.mask, resize.call, _reads)
    else:
        trails = flow.receiver(resize.call, _reads)
    soft = [trail for trail in trails if any(names_no_classes(name) for name in trail.names)]
    for trail in trails:
        if trail.start.call is not None and _reads(trail.start.call) and not soft:
            read = Evidence(
                f"read here: {' '.join(trail.start.code.split())[:100]}", place(trail.start.path, trail.start.span)
            )
            return (read,)
    block = file.function_around(resize.call.span)
    around = block.code if block is not None else file.text
    name = re.escape(resize.call.target or resize.code)
    used = re.search(rf"\b{name}\)?(?:\.\w+\(\w*\)){{0,6}}(?:\.long\(\)|\.to\(torch\.(?:long|int64)\))", around)
    at = place(file.path, resize.call.span)
    if used is None and not _rest(file, resize.call).lstrip(").[]:,0 ").startswith(
        ("squeeze", "long()", "to(torch.long")
    ):
        sampled = block is not None and block.name.endswith("__getitem__") and _CLASSES.search(file.text)
        return (Evidence("a mask of the data set, used as classes", at),) if sampled and not soft else ()
    told = f"used as class numbers: {used[0]}" if used is not None else "used as class numbers"
    return (Evidence(told, at),) if used or ".long()" in _rest(file, resize.call) else ()


def _reads(call: CallSite) -> bool:
    return call.name in _READERS


def _rest(file: SourceFile, call: CallSite) -> str:
    """What follows the call on its last line."""
    return file.text.split("\n")[call.span.end_line - 1][call.span.end_column :]


def _cut_off(file: SourceFile, call: CallSite) -> bool:
    """Whether the result is compared with a threshold or rounded, which makes a mask of two values again."""
    if re.match(r"\)*\s*(?:>|<|==|\.(?:round|bool|gt|ge)\b)", _rest(file, call)):
        return True
    block = file.function_around(call.span)
    after = file.text.split("\n")[call.span.end_line : block.span.end_line if block is not None else None]
    name = re.escape(call.target or "")
    if not name:
        return False
    cut = (
        rf"\b{name}(?:\[[^\]\n]{{0,80}}\]|,[^()\n]{{0,80}}\)|\))?\s*(?:>=?|<=?|==|!=)\s*[\w.]|(?:round|rint|threshold|ceil|floor|Binarize)\w*\({name}\b"
        rf"|{name}\.(?:round|bool|gt|ge|ceil|eq|point)\b|{name}\.astype\((?:bool|np\.bool)"
    )
    return re.search(cut, "\n".join(after)) is not None


# -- what resizes ----------------------------------------------------------------------------------------------------


def _resizes(file: SourceFile) -> Iterator[_Resize]:
    for call in file.calls:
        if not call.arguments and call.receiver is None:
            continue
        if call.name == "cv2.resize":
            found = _opencv(file, call, 5, "interpolation")
        elif call.name in ("cv2.warpAffine", "cv2.warpPerspective"):
            found = _opencv(file, call, 4, "flags")
        elif call.name == "torch.nn.functional.interpolate":
            found = _interpolate(file, call)
        elif call.name.startswith(("skimage.transform.resize", "skimage.transform.rescale", "scipy.ndimage.zoom")):
            found = _splines(file, call)
        elif call.name.startswith("torchvision.transforms."):
            found = _torchvision(file, call)
        else:
            found = _pil(file, call) if call.name == ".resize" else None
        if found is not None:
            yield found


def _added(file: SourceFile, call: CallSite, written: str) -> tuple[Edit, ...]:
    """One more argument at the end of a call."""
    last = call.arguments[-1].span
    return (file.edit(Span(last.end_line, last.end_column, last.end_line, last.end_column), f", {written}"),)


def _alias(file: SourceFile, *modules: str) -> str | None:
    whole = next((local for local, name in file.imports.items() if name in modules), None)
    roots = [
        (local, module) for local, name in file.imports.items() for module in modules if name == module.split(".")[0]
    ]
    return whole or next((".".join((local, *module.split(".")[1:])) for local, module in roots), None)


def _opencv(file: SourceFile, call: CallSite, position: int, name: str) -> _Resize | None:
    given, mask = call.argument(position, name), call.argument(0, "src")
    cv2 = _alias(file, "cv2")
    if mask is None or "**" in call.code or (given is not None and not re.search(r"INTER_(?!NEAREST)", given.code)):
        return None
    filter_ = given.code.rpartition(".")[2] if given is not None else "INTER_LINEAR, the default"
    text = f"Write `{name}=cv2.INTER_NEAREST`."
    misplaced = call.argument(2, "dst") if call.name == "cv2.resize" and given is None else None
    if misplaced is not None and misplaced.name is None and _NEAREST.search(misplaced.code):
        how = "the third argument of `cv2.resize` is `dst`: it interpolates with INTER_LINEAR, the default"
        written = (file.edit(misplaced.span, f"{name}={misplaced.code}"),)
        return _Resize(mask, call, how, written, f"Write `{name}={misplaced.code}`.", safe=True)
    edits: tuple[Edit, ...] = ()
    if cv2 is not None and given is not None:
        edits = (file.edit(given.span, f"{cv2}.INTER_NEAREST"),)
    elif cv2 is not None:
        edits = _added(file, call, f"{name}={cv2}.INTER_NEAREST")
    return _Resize(mask, call, f"`{call.name}` interpolates with {filter_}", edits, text)


def _interpolate(file: SourceFile, call: CallSite) -> _Resize | None:
    mode, mask = call.argument(3, "mode"), call.argument(0, "input")
    if mode is None or mask is None or mode.value not in _SMOOTH_MODES:
        return None
    edits = [file.edit(mode.span, '"nearest"')]
    corners = call.argument(99, "align_corners")
    if corners is not None:
        before = call.arguments[call.arguments.index(corners) - 1].span
        edits.append(
            file.edit(Span(before.end_line, before.end_column, corners.span.end_line, corners.span.end_column), "")
        )
    if corners is not None and call.arguments[call.arguments.index(corners) - 1] is mode:
        whole = Span(mode.span.start_line, mode.span.start_column, corners.span.end_line, corners.span.end_column)
        edits = [file.edit(whole, '"nearest"')]
    return _Resize(mask, call, f"`interpolate` with mode {mode.code}", tuple(edits), 'Write `mode="nearest"`.')


def _splines(file: SourceFile, call: CallSite) -> _Resize | None:
    order, mask = call.argument(3 if call.name.startswith("scipy") else 2, "order"), call.arguments[0]
    if "**" in call.code or (order is not None and order.value == 0):
        return None
    exact = "order=0" if call.name.startswith("scipy") else "order=0, preserve_range=True, anti_aliasing=False"
    plain = {argument.name for argument in call.arguments} & {"order", "preserve_range", "anti_aliasing"}
    edits: tuple[Edit, ...] = () if plain or order is not None else _added(file, call, exact)
    default = "cubic" if call.name.startswith("scipy") else "linear"
    how = f"`{call.method}` interpolates ({f'order {order.code}' if order is not None else f'{default} by default'})"
    return _Resize(mask, call, how, edits, f"Write `{exact}`.")


def _pil(file: SourceFile, call: CallSite) -> _Resize | None:
    """`mask.resize(size)` on a picture of PIL; arrays and tensors have other methods of that name."""
    filter_, image = call.argument(1, "resample"), _alias(file, "PIL.Image")
    if call.receiver is None or image is None or not call.arguments or (filter_ and _NEAREST.search(filter_.code)):
        return None
    if filter_ is not None and not re.search(r"BILINEAR|BICUBIC|LANCZOS|ANTIALIAS|BOX|HAMMING|^[1-5]$", filter_.code):
        return None
    edits = (
        _added(file, call, f"{image}.NEAREST") if filter_ is None else (file.edit(filter_.span, f"{image}.NEAREST"),)
    )
    how = f"`resize` interpolates with {filter_.code.rpartition('.')[2] if filter_ else 'BICUBIC, the default'}"
    return _Resize(call.receiver, call, how, edits, "Write `Image.NEAREST`.")


def _torchvision(file: SourceFile, call: CallSite) -> _Resize | None:
    if any(_TV_AWARE.search(part.text) for part in parts_of(file)) or not call.arguments:
        return None
    if call.name == "torchvision.transforms.functional.resize":
        filter_ = call.argument(2, "interpolation")
        if filter_ is not None and (_NEAREST.search(filter_.code) or not re.search(r"BI|LANCZOS|[23]", filter_.code)):
            return None
        module = _alias(
            file, "torchvision.transforms.functional", "torchvision.transforms", "torchvision.transforms.v2"
        )
        nearest = f"{module}.InterpolationMode.NEAREST"
        edits: tuple[Edit, ...] = ()
        if module is not None:
            edits = (file.edit(filter_.span, nearest),) if filter_ else _added(file, call, f"interpolation={nearest}")
        used = filter_.code.rpartition(".")[2] if filter_ is not None else "BILINEAR, the default"
        return _Resize(call.arguments[0], call, f"`resize` interpolates with {used}", edits, f"Write `{nearest}`.")
    origin = call.receiver_origin
    if origin is None or not call.name.endswith(("Compose.forward", "Resize.forward", "RandomResizedCrop.forward")):
        return None
    inner = [one for one in file.calls_in(origin.call.span) if one.method in ("Resize", "RandomResizedCrop")]
    smooth = [one for one in inner if not _NEAREST.search(one.code) and "interpolation=0" not in one.code]
    if not smooth:
        return None
    shared = "the same transform as the images" if call.name.endswith("Compose.forward") else "`Resize`"
    text = "Give masks a transform of their own: `Resize(size, interpolation=InterpolationMode.NEAREST)`."
    return _Resize(call.arguments[0], call, f"{shared} interpolates: `{smooth[0].code}`", (), text)


def _hit(resize: _Resize, evidence: tuple[Evidence, ...]) -> Hit:
    name = " ".join(resize.code.split())[:60]
    message = f"`{name}` holds classes, and {resize.how}: classes in between appear"
    if resize.safe:
        message = f"{resize.how}: values in between appear in `{name}`"
    reason = "a network that was trained on the smoothed masks has to be trained again"
    safety = FixSafety.SAFE if resize.safe else FixSafety.UNSAFE if resize.edits else FixSafety.MANUAL
    reason = "it is what was written, in a place where it has no effect" if resize.safe else reason
    fix = Fix(resize.text, safety, reason if resize.edits else "", edits=resize.edits)
    return Hit(message, resize.call.span, fix, evidence)


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    """Masks on disk that were resized or stored with a loss."""
    folders = [folder for folder in audited(plan) if folder.masks]
    if not folders:
        raise NotApplicable("no data folder holds masks")
    for folder in folders:
        smoothed = [mask for mask in folder.masks.values() if is_smoothed(mask)]
        if not smoothed:
            continue
        worst = max(smoothed, key=lambda mask: (mask.ramps, mask.distinct))
        classes = len(folder.classes) > 2 and not any(sample.boxes for sample in folder.samples)
        fix = "Make them black and white again, `mask = (mask > 127) * 255`, and store them as PNG."
        if classes:
            fix = "Export them again as PNG, resized with the nearest pixel only: mixed class numbers cannot be undone."
        yield Finding(
            "mask-interpolated",
            Level.ERROR if classes else Level.WARNING,
            f"{folder.key}: {share(len(smoothed), len(folder.masks))} masks were smoothed: {short(worst.path)} "
            f"{_told(worst)}",
            setting_place(plan, folder.key),
            file_evidence((mask.path, _told(mask)) for mask in smoothed),
            Fix(fix),
        )


def _told(mask: MaskRecord) -> str:
    return (
        f"({mask.format or mask.mode}) holds {mask.distinct} values, and {100 * mask.ramps:.0f}% of "
        "the pixels on its borders lie between their neighbours (hard borders: under 2%)"
    )


RULE = Rule(
    slug="mask-interpolated",
    family="data",
    title="A mask of classes is resized with a smoothing filter",
    level=Level.ERROR,
    log=absent("smoothed masks raise nothing and print nothing"),
    source=SourceFacet(("resize", "Resize", "interpolate", "zoom", "warp", "rescale"), _examine),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("new classes at the rims change no step visibly"),
    module=__name__,
)
