"""Faults of videos, and of pairs of blurred and sharp frames."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from plant import CannotPlant, plants
from plant._layouts import few_of, paired_video, sequences


@plants("unpaired-frame")
def sharp_frame_lost(folder: Path, rng: random.Random) -> Sequence[Path]:
    pairs = [pair for found in paired_video(folder).values() for pair in found]
    lost = [sharp for _, sharp in few_of(pairs, rng, share=0.05)]
    for path in lost:
        path.unlink()
    return lost


@plants("unpaired-frame")
def blurred_frame_lost(folder: Path, rng: random.Random) -> Sequence[Path]:
    pairs = [pair for found in paired_video(folder).values() for pair in found]
    lost = [blur for blur, _ in few_of(pairs, rng, share=0.05)]
    for path in lost:
        path.unlink()
    return lost


@plants("pair-size-mismatch")
def sharp_frames_of_another_size(folder: Path, rng: random.Random) -> Sequence[Path]:
    pairs = [pair for found in paired_video(folder).values() for pair in found]
    chosen = [sharp for _, sharp in few_of(pairs, rng)]
    for path in chosen:
        with Image.open(path) as image:
            image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(path)
    return chosen


@plants("pair-shifted")
def sharp_frames_ahead(folder: Path, rng: random.Random) -> Sequence[Path]:
    pairs = paired_video(folder, shift=rng.choice([-2, 2]))
    return [sharp for found in pairs.values() for _, sharp in found]


@plants("pair-shifted")
def sharp_frames_one_ahead(folder: Path, rng: random.Random) -> Sequence[Path]:
    pairs = paired_video(folder, shift=rng.choice([-1, 1]))
    return [sharp for found in pairs.values() for _, sharp in found]


@plants("pair-not-sharper")
def sides_swapped(folder: Path, rng: random.Random) -> Sequence[Path]:
    pairs = [pair for found in paired_video(folder).values() for pair in found]
    for blur, sharp in pairs:
        blurred, clear = blur.read_bytes(), sharp.read_bytes()
        blur.write_bytes(clear)
        sharp.write_bytes(blurred)
    return [path for pair in pairs for path in pair]


@plants("pair-not-sharper")
def one_sequence_swapped(folder: Path, rng: random.Random) -> Sequence[Path]:
    pairs = paired_video(folder)
    chosen = pairs[rng.choice(sorted(pairs))]
    for blur, sharp in chosen:
        blurred, clear = blur.read_bytes(), sharp.read_bytes()
        blur.write_bytes(clear)
        sharp.write_bytes(blurred)
    return [path for pair in chosen for path in pair]


@plants("clip-too-short")
def sequence_cut_to_two_frames(folder: Path, rng: random.Random) -> Sequence[Path]:
    pairs = paired_video(folder)
    if len(pairs) < 2:
        raise CannotPlant("a single sequence is as long as it is")
    lost = [path for pair in pairs[rng.choice(sorted(pairs))][2:] for path in pair]
    for path in lost:
        path.unlink()
    return lost


@plants("clip-too-short")
def video_cut_to_two_frames(folder: Path, rng: random.Random) -> Sequence[Path]:
    found = sequences(folder)
    if len(found) < 2:
        raise CannotPlant("a single sequence is as long as it is")
    lost = found[rng.choice(sorted(found))][2:]
    for path in lost:
        path.unlink()
    return lost


@plants("frame-gap")
def frames_lost_inside(folder: Path, rng: random.Random) -> Sequence[Path]:
    found = sequences(folder)
    frames = found[rng.choice(sorted(found))]
    start = rng.randrange(3, len(frames) - 4)
    lost = frames[start : start + 2]
    for path in lost:
        path.unlink()
    return lost


@plants("clip-size-mismatch")
def frame_of_another_size(folder: Path, rng: random.Random) -> Sequence[Path]:
    found = sequences(folder)
    path = rng.choice(found[rng.choice(sorted(found))])
    with Image.open(path) as image:
        image.resize((image.width // 2, image.height // 2)).save(path)
    return [path]
