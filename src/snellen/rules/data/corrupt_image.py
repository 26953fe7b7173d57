"""A file that should be an image cannot be decoded.

What happens
------------
`PIL.UnidentifiedImageError: cannot identify image file`, `OSError: image file is truncated (57 bytes not
processed)`, `broken PNG file`, in the middle of an epoch, when the file is drawn.

Why
---
A download or a copy ended early, a web server sent an error page under the name of an image, the disk was full when
the file was written, or the ending does not fit the format.

How to confirm
--------------
`file NAME` and `ls -l NAME`: zero bytes, HTML, or fewer bytes than the source has. `Image.open(name).load()` raises
the same error.

Fix
---
Fetch the file again or take it off the list. Decode every file once before training and keep the list of bad ones.
`ImageFile.LOAD_TRUNCATED_IMAGES = True` fills the missing part with grey: training then learns from half an image.

When it is something else
-------------------------
All images fail: the decoder is missing (AVIF, HEIC, some TIFF compressions) or the folder holds something else. A
file that is not there is `missing-file`.

Sources
-------
- Pillow, `ImageFile.LOAD_TRUNCATED_IMAGES`: https://pillow.readthedocs.io/en/stable/reference/ImageFile.html
- Pillow, `Image.open`: https://pillow.readthedocs.io/en/stable/reference/Image.html#PIL.Image.open
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from snellen.core.audits import file_evidence, share, short
from snellen.core.facts.data import FolderAudit, ImageRecord, MaskRecord
from snellen.core.finding import Evidence, Finding, Fix, Level
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.logs.messages import TOO_MANY_PIXELS
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile

__all__ = ["RULE"]


_STATED = re.compile(
    r"cannot identify image file|image file is truncated|broken data stream when reading image file|broken PNG file"
    r"|Truncated File Read|libpng error: (?!.*warning)|Input is not a (?:JPEG|PNG)|Image is corrupt"
    r"|bad adaptive filter|unrecognized data stream contents|not a (?:TIFF|PNG|JPEG) file"
    r"|Image is incomplete or truncated|Unsupported image file\. Only jpeg|decoder error -\d when reading image"
    r"|File is missing DICOM File Meta|(?:^|\W)ImageFileError: (?:Empty file|Cannot work out file type)",
    re.IGNORECASE,
)
_WARNED = re.compile(
    r"Corrupt JPEG data|Premature end of JPEG file|Invalid SOS parameters|jpeg_\w+ error", re.IGNORECASE
)
_NOTHING = re.compile(r"'NoneType'|\(-215|empty\(\)")
_PACKED = re.compile(
    r"Compressed file ended before the end-of-stream|Error -3 while decompressing|Not a gzipped file|CRC check failed"
)
_MEDICAL = re.compile(r"nibabel|SimpleITK|monai|\.nii", re.IGNORECASE)
_NAME = re.compile(r"""(?:name=|file |open )['"]?(?P<path>[^'"<>\n]+\.\w{2,5})\b""")
_DECODER = re.compile(r"(?:Png|Jpeg|Tiff|Bmp|Gif|WebP)ImagePlugin\.py")


def _examine_log(log: Log) -> LogMatch | None:
    for error in log.exceptions:
        match = _raised(error)
        if match is not None:
            return match
    warned = log.search(_WARNED.pattern)
    nothing = next((error for error in log.exceptions if _NOTHING.search(error.message)), None)
    if warned is not None and nothing is not None:
        # The decoder complained, and OpenCV then had nothing to give.
        return _match((nothing.evidence, warned.evidence), "", 0.8)
    line = log.search(_STATED.pattern)
    if line is not None:
        return _match((line.evidence,), line.text, 0.85)
    inside = log.search(_DECODER.pattern)
    shown = {error.name for error in log.exceptions} - {"error", "OSError", "RuntimeError"}
    # A traceback cut off inside the decoder, after it had begun to read: its bytes are at fault.
    cut = inside is not None and not shown and log.search(r"in (?:i16|i32)\w*$") is not None
    return _match((inside.evidence,), "", 0.75) if inside is not None and cut else None


def _raised(error: LoggedException) -> LogMatch | None:
    if _STATED.search(error.text):
        frame = error.user_frame
        return _match((error.evidence, *((frame.evidence,) if frame else ())), error.message, 0.95)
    last = error.frames[-1] if error.frames else None
    if last is not None and error.name in ("error", "SyntaxError", "OSError") and _DECODER.search(last.path):
        return _match((error.evidence, last.evidence), error.message, 0.85)
    medical = any(_MEDICAL.search(f"{frame.path} {frame.code}") for frame in error.frames)
    return _match((error.evidence,), error.message, 0.85) if medical and _PACKED.search(error.message) else None


_DECODES = """
from PIL import Image
try:
    Image.open({path!r}).load()
    print("decoded")
except Exception as error:
    print(type(error).__name__, error)
"""


def _probe(log: Log, here: Here) -> Answer:
    match = _examine_log(log)
    named = re.match(r"`(?P<path>[^`]{1,400})` is there", match.cause) if match is not None else None
    if named is None:
        return Answer(Outcome.CANNOT_TELL, "the log does not name the file")
    path = Path(named["path"]) if Path(named["path"]).is_absolute() else here.root / named["path"]
    try:
        size = path.stat().st_size
    except (OSError, ValueError):
        return Answer(Outcome.CANNOT_TELL, f"{path} is not here")
    ran = here.python(_DECODES.format(path=str(path)))
    told = ran.output.strip().splitlines()[-1:] or [""]
    if ran.code != 0 or not told[0]:
        return Answer(Outcome.CANNOT_TELL, f"{path} has {size} bytes; Pillow could not be asked")
    if told[0] == "decoded":
        return Answer(Outcome.REFUTED, f"{path} ({size} bytes) can be decoded here")
    return Answer(Outcome.CONFIRMED, f"{path} ({size} bytes): {told[0]}")


def _match(evidence: tuple[Evidence, ...], message: str, score: float) -> LogMatch:
    named = _NAME.search(message)
    which = f"`{named['path'].strip()}`" if named else "One image of the data set"
    cause = f"{which} is there but cannot be decoded: it is cut short or not an image."
    find = "" if named else "To find it, decode every file once: `Image.open(path).load()`. "
    return LogMatch(score, evidence, cause, Fix(f"{find}Fetch the file again or take it off the list."))


_READERS = frozenset({"PIL.Image.open", "cv2.imread", "cv2.imdecode", "imageio.imread", "skimage.io.imread"})
_BROAD = frozenset({"Exception", "BaseException", "OSError", "IOError", "PIL.UnidentifiedImageError"})


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for block in file.tries:
        broad = not block.exceptions or bool(_BROAD & set(block.exceptions))
        reader = next((call for call in block.tried if _decodes(call)), None)
        if block.swallows and broad and reader is not None:
            message = f"images that `{reader.method}` cannot read are dropped without a word"
            fix = Fix("Log the path, count the files that were left out, and stop when there are more than a few.")
            yield Hit(message, block.span, fix, level=Level.WARNING)


def _decodes(call: CallSite) -> bool:
    return call.name in _READERS or call.name.startswith("torchvision.io.")


_OTHERS = re.compile(r"permission denied|not permitted|does not exist|changed while it was read", re.IGNORECASE)
"""What other rules say: unreadable-file and missing-file; and what says nothing about the file."""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    folders: Sequence[FolderAudit] = plan.fact("audit")
    if not any(folder.images or folder.masks for folder in folders):
        raise NotApplicable("no data folder holds an image")
    for folder in folders:
        # Masks first that are images, too: they are named once.
        records: dict[str, ImageRecord | MaskRecord] = {**folder.masks, **folder.images}
        broken = [(path, record.problem) for path, record in records.items() if _is_broken(record.problem)]
        if not broken:
            continue
        path, reason = broken[0]
        masks = sum(path in folder.masks for path, _ in broken)
        parts = [f"{share(len(broken) - masks, len(folder.images))} images"] if len(broken) > masks else []
        parts += [f"{share(masks, len(folder.masks))} masks"] if masks else []
        more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        yield Finding(
            "corrupt-image",
            Level.ERROR,
            f"{folder.key}: {' and '.join(parts)} cannot be decoded ({folder.coverage()}): "
            f"{short(path)} {reason}{more}",
            setting_place(plan, folder.key),
            file_evidence(broken),
            Fix("Fetch these files again, or move them away."),
        )


def _is_broken(problem: str) -> bool:
    # Images that are too large to be decoded are another rule's: decompression-bomb.
    return bool(problem) and not TOO_MANY_PIXELS.search(problem) and not _OTHERS.search(problem)


RULE = Rule(
    slug="corrupt-image",
    family="data",
    title="An image cannot be decoded",
    level=Level.ERROR,
    log=LogFacet(
        (
            "identify image",
            "image file is truncated",
            "broken png",
            "broken data stream",
            "imageplugin.py",
            "truncated file read",
            "libpng error",
            "data stream contents",
            "not a tiff",
            "not a png",
            "not a jpeg",
            "corrupt",
            "truncated",
            "unsupported image file",
            "when reading image",
            "dicom file meta",
            "imagefileerror",
            "end-of-stream",
            "while decompressing",
            "not a gzipped",
            "crc check",
            "jpeg file",
            "sos parameters",
        ),
        _examine_log,
        _probe,
    ),
    source=SourceFacet(("except",), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("a bad file raises in the loader, before the step"),
    module=__name__,
)
