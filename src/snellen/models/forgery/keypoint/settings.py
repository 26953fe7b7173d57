"""Everything that can be set in the keypoint detector, with its unit."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KeypointSettings"]


@dataclass(frozen=True, slots=True)
class KeypointSettings:
    """Settings of `KeypointDetector`; the defaults are those of every published figure.

    Args:
        max_pixels: Larger images are worked on at this size; the mask is brought back to the full size.
        max_block_pixels: In larger images no small blocks are compared: that works on all pixels and takes memory.
        contrast_threshold: SIFT's; a quarter of OpenCV's default, so that smooth areas carry keypoints too.
        edge_threshold: SIFT's.
        max_keypoints: The strongest of every 32-pixel cell are kept first.
        similarity: Least cosine of two RootSIFT descriptors that may match.
        neighbours: Matches kept per keypoint; bounds how many copies of one area can be found.
        exclusion_radius: Least distance in pixels between source and copy.
        max_scale: Largest scale of a copy, and one over the smallest.
        max_matches: Bounds the time of the photometric check.
        max_voters: Bounds the time of voting.
        max_hypotheses: Transforms examined per image.
        threshold: Least probability of a region pair that is reported.
    """

    max_pixels: int = 1_600_000
    max_block_pixels: int = 8_000_000
    contrast_threshold: float = 0.01
    edge_threshold: float = 12.0
    max_keypoints: int = 5000
    similarity: float = 0.86
    neighbours: int = 5
    exclusion_radius: float = 14.0
    max_scale: float = 2.2
    max_matches: int = 3000
    max_voters: int = 1000
    max_hypotheses: int = 24
    threshold: float = 0.5
