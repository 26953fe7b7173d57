"""Make a forgery from a photo, find it again, and look at the result. Needs snellen[demo]."""

from pathlib import Path

import numpy as np

from snellen.data.reading import read_image
from snellen.data.synthesis.copy_move import synthesise
from snellen.data.writing import write_png
from snellen.demo.photos import TRAINING, copy_photos
from snellen.models.forgery.keypoint.detector import KeypointDetector
from snellen.report.overlay import draw_overlay

folder = Path("example-output")
photo = copy_photos(TRAINING[1:2], folder)[0]
forgery = synthesise(read_image(photo).pixels, seed=4)

found = KeypointDetector().detect(forgery.image)
shared = np.logical_and(found.mask, forgery.mask).sum()
print(f"score {found.score:.2f}, {len(found.regions)} pairs of areas")
print(f"pixel F1 {2 * shared / (found.mask.sum() + forgery.mask.sum()):.2f}")
for pair in found.regions:
    print(f"{pair.kind}: {pair.source.box} -> {pair.copy.box}")

pairs = [(pair.source.box, pair.copy.box, pair.matches) for pair in found.regions]
write_png(folder / "overlay.png", draw_overlay(forgery.image, mask=found.mask, pairs=pairs, truth=forgery.mask))
print(f"look at {folder / 'overlay.png'}")
