"""What a path is for, told by its name alone: an image, a table of data, trained weights."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = ["is_data", "is_image", "is_weights", "name_of", "nearest"]

_IMAGE = re.compile(
    r"\.(?:jpe?g|png|bmp|ppm|pgm|tiff?|webp|gif|jp2|exr|dng|nef|arw|nii|nii\.gz|dcm|mha|nrrd|svs)$", re.IGNORECASE
)
_DATA = re.compile(
    r"\.(?:npy|npz|csv|tsv|json|jsonl|xml|txt|mat|h5|hdf5|lmdb|tfrecord|parquet|tar|zip|mp4|avi|mov|mkv|wav|flac|dat|mdb)$",
    re.IGNORECASE,
)
_WEIGHTS = re.compile(
    r"\.(?:pth|pt|pth\.tar|pt\.tar|ckpt|safetensors|bin|onnx|pdparams|caffemodel|weights|t7|torchscript|msgpack|th)$",
    re.IGNORECASE,
)

_IN_WEIGHTS_FOLDER = re.compile(
    r"(?:check_?points?|pretrained|weights|ckpts?)\w*[\\/].*\.(?:npz|pkl|h5|npy)$", re.IGNORECASE
)


def is_image(path: str) -> bool:
    """Whether the name ends like a picture's.

    Example:
        >>> is_image("JPEGImages/081.JPG"), is_image("model.pth")
        (True, False)
    """
    return bool(_IMAGE.search(path.strip()))


def is_data(path: str) -> bool:
    """Whether the name ends like that of a picture, a table, a video or an archive."""
    return is_image(path) or bool(_DATA.search(path.strip()))


def is_weights(path: str) -> bool:
    """Whether the name ends like that of trained weights, or like one of arrays in a folder of weights.

    Example:
        >>> is_weights("checkpoints/model.pth.tar"), is_weights("labels.txt")
        (True, False)
    """
    return bool(_WEIGHTS.search(path.strip()) or _IN_WEIGHTS_FOLDER.search(path.strip()))


def name_of(path: str) -> str:
    r"""The last part of a POSIX or Windows path.

    Example:
        >>> name_of("C:\\\\data\\\\a.png"), name_of("data/b.png")
        ('a.png', 'b.png')
    """
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def nearest(word: str, candidates: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The candidate that is spelled most like the word, `None` when none is close; case does not count.

    Example:
        >>> nearest("batchsize", ["batch_size", "lr"])
        'batch_size'
    """
    lowered = {candidate.lower(): candidate for candidate in candidates}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=cutoff)
    return lowered[close[0]] if close else None
