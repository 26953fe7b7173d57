"""What happens to a copy before it is pasted and to the whole picture afterwards."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from snellen.data.synthesis.settings import CopiedRegion, CopyMoveSettings, PostProcessing

__all__ = ["difficulty_of", "draw_processing", "process", "resized_transform", "retouch"]


def retouch(
    patch: npt.NDArray[np.uint8], *, blur: float, contrast: float, brightness: float
) -> npt.NDArray[np.float32]:
    """Blur a patch, then stretch its grey values around their mean and shift them; values stay within 0 to 255."""
    changed = patch.astype(np.float32)
    if blur > 0:
        changed = np.asarray(cv2.GaussianBlur(changed, (0, 0), blur), dtype=np.float32)
    if contrast != 1 or brightness != 0:
        mean = changed.mean(axis=(0, 1), keepdims=True)
        changed = (changed - mean) * contrast + mean + brightness
    return np.clip(changed, 0, 255)


def draw_processing(settings: CopyMoveSettings, generator: np.random.Generator) -> PostProcessing:
    """Draw what shall be done to the whole image."""
    resize, noise, quality = (generator.random() < settings.processed for _ in range(3))
    drawn_resize, drawn_noise = generator.uniform(*settings.resize), generator.uniform(0, settings.noise)
    drawn_quality = int(generator.integers(settings.quality[0], settings.quality[1] + 1))
    return PostProcessing(
        resize=float(drawn_resize) if resize else 1.0,
        noise=float(drawn_noise) if noise else 0.0,
        quality=drawn_quality if quality else None,
    )


def process(
    image: npt.NDArray[np.uint8],
    masks: list[npt.NDArray[np.bool_]],
    processing: PostProcessing,
    generator: np.random.Generator,
) -> tuple[npt.NDArray[np.uint8], list[npt.NDArray[np.bool_]]]:
    """Resize image and masks, then add noise to the image, then compress it as JPEG and decode it again."""
    if processing.resize != 1:
        height, width = image.shape[:2]
        size = (max(32, round(width * processing.resize)), max(32, round(height * processing.resize)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        masks = [_resized_mask(mask, size) for mask in masks]
    if processing.noise > 0:
        noise = generator.normal(0, processing.noise, image.shape)
        image = np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)
    if processing.quality is not None:
        _, stream = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, processing.quality])
        image = np.ascontiguousarray(np.asarray(cv2.imdecode(stream, cv2.IMREAD_COLOR), dtype=np.uint8)[:, :, ::-1])
    return image, masks


def _resized_mask(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    cover = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    half: npt.NDArray[np.bool_] = cover >= 0.5
    # A region of few pixels may fill no pixel by half; it must not vanish.
    return half if half.any() else np.asarray(cover > 0)


def resized_transform(
    transform: npt.NDArray[np.float64], before: tuple[int, int], after: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """The same transform in pixels of the resized image; sizes are `(height, width)`.

    Example:
        >>> resized_transform(np.array([[1.0, 0.0, 20.0], [0.0, 1.0, 8.0]]), (100, 100), (50, 50)).tolist()
        [[1.0, 0.0, 10.0], [0.0, 1.0, 4.0]]
    """
    y, x = after[0] / before[0], after[1] / before[1]
    # Pixel centres: (x + 0.5) is what scales.
    there = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    whole = there @ np.vstack([transform, [0, 0, 1]]) @ np.linalg.inv(there)
    return np.asarray(whole[:2])


def difficulty_of(copies: list[CopiedRegion], share: float, processing: PostProcessing) -> float:
    """How hard a forgery is to find, 0 to 1: one minus the product of what each change leaves easy.

    Args:
        copies: The copies; the hardest counts, and without any the difficulty is 0.
        share: Share of the image that the source covers.
        processing: What was done to the whole image.
    """
    if not copies:
        return 0.0
    whole = [
        0.5 * min(1.0, max(0.0, -math.log10(share) - 1)),
        0.5 * (0 if processing.quality is None else (100 - processing.quality) / 60),
        min(0.5, processing.noise * 0.04),
        0.6 * (1 - processing.resize),
    ]

    def own(copy: CopiedRegion) -> list[float]:
        turned = 0.3 * min(1.0, abs(copy.rotation) / 30)
        retouched = [0.15 * min(1.0, copy.blur), abs(copy.contrast - 1), min(0.2, abs(copy.brightness) / 100)]
        return [turned, 0.4 * abs(math.log2(copy.scale)), 0.2 * copy.flipped, abs(copy.shear), *retouched]

    def left(penalties: list[float]) -> float:
        return math.prod(1 - min(0.9, penalty) for penalty in penalties)

    return 1 - left(whole) * min(left(own(copy)) for copy in copies)
