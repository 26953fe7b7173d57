"""Faults of images themselves: what they look like, how they are stored, what lies beside them."""

from __future__ import annotations

import random
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from plant import CannotPlant, plants
from plant._pictures import FEWEST, few, pictures, repaint, size_of, stored_as

ORIENTATION = 0x0112


# What the picture looks like.


@plants("blank-image")
def blank(folder: Path, rng: random.Random) -> Sequence[Path]:
    level = rng.randrange(20, 235)
    return [repaint(path, lambda picture: np.full_like(picture, level)) for path in few(folder, rng)]


@plants("dark-image")
def dark(folder: Path, rng: random.Random) -> Sequence[Path]:
    paths = few(folder, rng, lambda path: _range(path) * 0.05 > 3, of_at_least=FEWEST)
    return [repaint(path, lambda picture: picture * 0.05) for path in paths]


@plants("bright-image")
def bright(folder: Path, rng: random.Random) -> Sequence[Path]:
    paths = few(folder, rng, lambda path: _range(path) * 0.04 > 3, of_at_least=FEWEST)
    return [repaint(path, lambda picture: 244 + picture * 0.04) for path in paths]


def _range(path: Path) -> float:
    """Grey levels between the dark and the bright end: what has few of them would become blank."""
    with Image.open(path) as image:
        return float(np.subtract(*np.percentile(np.asarray(image.convert("L"), np.float32), (99, 1))))


@plants("low-contrast-image")
def veiled(folder: Path, rng: random.Random) -> Sequence[Path]:
    paths = few(folder, rng, of_at_least=FEWEST)
    if np.quantile([_contrast(path) for path in pictures(folder)], 0.1) < 12:
        raise CannotPlant("its own images are as faint")
    return [repaint(path, _veil) for path in paths]


def _contrast(path: Path) -> float:
    with Image.open(path) as image:
        return float(np.std(np.asarray(image.convert("L"), np.float32)))


def _veil(picture: np.ndarray) -> np.ndarray:
    spread = max(float(picture.std()), 1.0)
    return 128 + (picture - picture.mean()) * (4.0 / spread)


@plants("low-information-image")
def placeholder(folder: Path, rng: random.Random) -> Sequence[Path]:
    """A grey card with a small mark, as servers of photographs send it for one that is gone."""
    paths = few(folder, rng, of_at_least=FEWEST)
    if np.quantile([_entropy(path) for path in pictures(folder)], 0.1) < 3:
        raise CannotPlant("its own images hold as little")
    return [repaint(path, _card) for path in paths]


def _card(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    card = np.full_like(picture, 230)
    card[height * 2 // 5 : height * 3 // 5, width * 2 // 5 : width * 3 // 5] = 40
    return card


@plants("blurred-image")
def blurred(folder: Path, rng: random.Random) -> Sequence[Path]:
    paths = few(folder, rng, lambda path: min(size_of(path)) >= 64, of_at_least=FEWEST)
    for path in paths:
        with Image.open(path) as image:
            picture = image.convert("RGB")
        # Six pixels at a side of 512: what an autofocus misses by.
        radius = 6 * max(max(picture.size) / 512, 0.35)
        softened = np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)))
        repaint(path, lambda _, softened=softened: softened)
    return paths


# Sizes and shapes.


@plants("odd-image-size")
def off_size(folder: Path, rng: random.Random) -> Sequence[Path]:
    """A sixth or six times as large as the usual image of the set, in its own shape."""
    usual = float(np.median([np.sqrt(np.prod(size_of(path))) for path in pictures(folder)]))

    def change(width: int, height: int) -> tuple[int, int]:
        shape = (width / height) ** 0.5
        side = usual / 6 if usual / 6 / max(shape, 1 / shape) >= 33 else usual * 6
        return round(side * shape), round(side / shape)

    return [_resized(path, change) for path in few(folder, rng, of_at_least=FEWEST)]


@plants("tiny-image")
def icon(folder: Path, rng: random.Random) -> Sequence[Path]:
    side = rng.choice((1, 8, 16, 20))
    paths = few(folder, rng, of_at_least=FEWEST)
    if np.median([min(size_of(path)) for path in pictures(folder)]) < 64:
        raise CannotPlant("all its images are as small as icons")
    return [_resized(path, lambda width, height: (side, side)) for path in paths]


@plants("odd-aspect-ratio")
def strip(folder: Path, rng: random.Random) -> Sequence[Path]:
    return [
        _resized(path, lambda width, height: (width * 3, max(height * 3 // 5, 4)))
        for path in few(folder, rng, of_at_least=FEWEST)
    ]


def _resized(path: Path, change: Callable[[int, int], tuple[int, int]]) -> Path:
    with Image.open(path) as image:
        image.load()
        resized = image.resize(change(*image.size))
        resized.save(path, stored_as(path))
    return path


# Colours, depth, alpha, frames.


@plants("mixed-colour-modes")
def other_mode(folder: Path, rng: random.Random) -> Sequence[Path]:
    """Grey or CMYK JPEG files; grey, palette or transparent files of other formats."""
    paths = few(folder, rng, of_at_least=FEWEST)
    modes = {_mode(path) for path in pictures(folder)}
    jpeg = all(stored_as(path) == "JPEG" for path in paths)
    mode = rng.choice([mode for mode in (("L", "CMYK") if jpeg else ("L", "P", "RGBA", "RGB")) if mode not in modes])
    if jpeg or not any(path.suffix.lower() in (".jpg", ".jpeg", ".bmp") for path in paths):
        for path in paths:
            with Image.open(path) as image:
                changed = image.convert("RGB").convert(mode)
            changed.save(path, stored_as(path))
        return paths
    raise CannotPlant("its formats do not take one other mode")


def _mode(path: Path) -> str:
    with Image.open(path) as image:
        return "L" if image.mode == "1" else image.mode


@plants("mixed-grey-and-colour")
def grey_or_tinted(folder: Path, rng: random.Random) -> Sequence[Path]:
    """Grey images among coloured ones; tinted ones among grey ones that have three channels."""
    found = pictures(folder)
    if any(_mode(path) not in ("RGB", "RGBA") for path in found):
        raise CannotPlant("its images do not have three channels")
    paths = few(folder, rng, of_at_least=FEWEST)
    coloured = [_colour(path) >= 1 for path in found]
    if 0.1 < np.mean(coloured) < 0.9:
        raise CannotPlant("grey and coloured images are mixed in it")
    if not np.median(coloured):
        return [repaint(path, lambda picture: picture * 0.6 + [80.0, 10.0, 60.0]) for path in paths]
    return [repaint(path, lambda picture: np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)) for path in paths]


def _colour(path: Path) -> float:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), np.float32)
    return float(np.mean(pixels.max(axis=2) - pixels.min(axis=2)))


@plants("mixed-bit-depth")
def deeper(folder: Path, rng: random.Random) -> Sequence[Path]:
    return [_deepen(path, 65535) for path in few(folder, rng, _takes_16_bits, of_at_least=2)]


@plants("high-bit-depth")
def twelve_of_sixteen(folder: Path, rng: random.Random) -> Sequence[Path]:
    """The whole set as a camera of 12 bits stores it."""
    found = pictures(folder)
    if len(found) > 100 or not all(map(_takes_16_bits, found)):
        raise CannotPlant("its formats have no 16 bits, or it is large")
    return [_deepen(path, 4095) for path in found]


def _takes_16_bits(path: Path) -> bool:
    return stored_as(path) in ("PNG", "TIFF")


def _deepen(path: Path, top: int) -> Path:
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L"), np.float64)
    Image.fromarray((grey / 255 * top).astype(np.uint16)).save(path, stored_as(path))
    return path


@plants("transparent-image")
def cut_out(folder: Path, rng: random.Random) -> Sequence[Path]:
    paths = few(folder, rng, lambda path: stored_as(path) == "PNG", of_at_least=FEWEST)
    for path in paths:
        with Image.open(path) as image:
            picture = image.convert("RGBA")
        alpha = np.full(picture.size[::-1], 255, np.uint8)
        alpha[: len(alpha) * 2 // 5] = 0
        picture.putalpha(Image.fromarray(alpha))
        picture.save(path)
    return paths


@plants("animated-image")
def animated(folder: Path, rng: random.Random) -> Sequence[Path]:
    paths = few(folder, rng, lambda path: stored_as(path) in ("PNG", "TIFF", "GIF"), of_at_least=FEWEST)
    for path in paths:
        with Image.open(path) as image:
            first = image.convert("RGB")
        more = [first.point(lambda value, step=step: value + 20 * step) for step in (1, 2)]
        first.save(path, stored_as(path), save_all=True, append_images=more)
    return paths


# How files are stored.


@plants("corrupt-image")
def truncated(folder: Path, rng: random.Random) -> Sequence[Path]:
    paths = few(folder, rng, lambda path: path.stat().st_size > 400)
    for path in paths:
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * rng.uniform(0.15, 0.4))])  # some formats end with metadata
    return paths


@plants("corrupt-image")
def emptied(folder: Path, rng: random.Random) -> Sequence[Path]:
    return _written(few(folder, rng), b"")


@plants("corrupt-image")
def web_page(folder: Path, rng: random.Random) -> Sequence[Path]:
    return _written(few(folder, rng), b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n")


@plants("corrupt-image")
def overwritten(folder: Path, rng: random.Random) -> Sequence[Path]:
    """Bytes that are no image at all."""
    return _written(few(folder, rng), rng.randbytes(3000))


@plants("decompression-bomb")
def bomb(folder: Path, rng: random.Random) -> Sequence[Path]:
    """A PNG file of a few bytes that says it has 60,000 x 60,000 pixels."""
    paths = few(folder, rng, lambda path: path.suffix.lower() == ".png")

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return _written(paths, b"\x89PNG\r\n\x1a\n" + body)


def _written(paths: Sequence[Path], data: bytes) -> Sequence[Path]:
    for path in paths:
        path.write_bytes(data)
    return paths


@plants("suffix-mismatch")
def renamed_format(folder: Path, rng: random.Random) -> Sequence[Path]:
    """What servers send: WebP whatever was asked for; or a JPEG called PNG and the other way round."""
    kind = rng.choice(("WEBP", "OTHER"))
    paths = few(folder, rng)
    for path in paths:
        with Image.open(path) as image:
            picture = image.convert("RGB")
        other = "PNG" if stored_as(path) == "JPEG" else "JPEG"
        picture.save(path, "WEBP" if kind == "WEBP" else other)
    return paths


@plants("exif-rotation")
def turned(folder: Path, rng: random.Random) -> Sequence[Path]:
    """The tag alone: masks and boxes then have the size of the pixels as stored."""
    paths = few(folder, rng, lambda path: stored_as(path) == "JPEG")
    for path in paths:
        with Image.open(path) as image:
            image.load()
            exif = image.getexif()
            exif[ORIENTATION] = rng.choice((3, 6, 8))
            image.save(path, "JPEG", quality=95, exif=exif)
    return paths


# Copies.


@plants("duplicate-image")
def copied(folder: Path, rng: random.Random) -> Sequence[Path]:
    return [file for path in few(folder, rng) for file in (path, Path(shutil.copy(path, _beside(path, " (1)"))))]


@plants("duplicate-image")
def copied_in_another_format(folder: Path, rng: random.Random) -> Sequence[Path]:
    """The same pixels in other bytes."""
    touched = []
    for path in few(folder, rng, lambda path: stored_as(path) == "PNG" and _mode(path) in ("RGB", "L")):
        with Image.open(path) as image:
            image.load()
            other = _beside(path, "_copy")
            image.save(other, compress_level=1, pnginfo=None)
        touched += [path, other]
    return touched


@plants("near-duplicate-image")
def shrunk_copy(folder: Path, rng: random.Random) -> Sequence[Path]:
    """A copy at four fifths of the size, compressed again."""
    touched = []
    for path in few(folder, rng, lambda path: min(size_of(path)) >= 60 and _entropy(path) >= 3):
        with Image.open(path) as image:
            picture = image.convert("RGB")
        small = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5), Image.Resampling.BICUBIC)
        other = _beside(path, "_small").with_suffix(".jpg")
        small.save(other, quality=75)
        touched += [path, other]
    return touched


def _entropy(path: Path) -> float:
    with Image.open(path) as image:
        return image.convert("L").entropy()


def _beside(path: Path, ending: str) -> Path:
    other = path.with_name(f"{path.stem}{ending}{path.suffix}")
    if other.exists():
        raise CannotPlant(f"{other.name} is there already")
    if path.parent.with_name("masks").is_dir() and len(list(path.parent.iterdir())) == 1:
        raise CannotPlant("each sample has a folder of its own for its one image")
    return other


# Names and links.


@plants("stray-file")
def left_by_a_mac(folder: Path, rng: random.Random) -> Sequence[Path]:
    paths = [path.with_name(f"._{path.name}") for path in few(folder, rng)]
    return _written(paths, b"\x00\x05\x16\x07" + bytes(78))


@plants("stray-file")
def left_by_others(folder: Path, rng: random.Random) -> Sequence[Path]:
    place = few(folder, rng)[0].parent
    names = rng.sample(("Thumbs.db", ".DS_Store", "more.jpg.part", "rest.zip", "b.png.crdownload"), 2)
    return _written([place / name for name in names], b"\x00" * 64)


@plants("unportable-name")
def untypable(folder: Path, rng: random.Random) -> Sequence[Path]:
    path = few(folder, rng)[0]
    other = rng.choice([name for name in _names(path) if not path.with_name(name).exists()])
    path.with_name(other).write_bytes(path.read_bytes())
    return [path, path.with_name(other)]


def _names(path: Path) -> Iterator[str]:
    yield f"caf\u00e9 {path.name}"
    yield f"con{path.suffix}"
    yield f"what is this?{path.suffix}"
    yield f"{'a very long title ' * 9}{path.suffix}"
    if path.name.swapcase() != path.name:
        yield path.name.swapcase()


@plants("broken-link")
def dangling(folder: Path, rng: random.Random) -> Sequence[Path]:
    paths = few(folder, rng)
    for path in paths:
        path.unlink()
        path.symlink_to(Path("..") / "store" / "gone" / path.name)
    return paths


@plants("unreadable-file")
def forbidden(folder: Path, rng: random.Random) -> Sequence[Path]:
    paths = few(folder, rng)
    for path in paths:
        path.chmod(0)
    try:
        paths[0].read_bytes()
    except PermissionError:
        return paths
    raise CannotPlant("this user may read everything")
