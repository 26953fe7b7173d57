from __future__ import annotations
import math
import numpy as np
from snellen.models.forgery.keypoint.verification import Candidate

def features_of(c: Candidate):
    area = c.source.pixels
    return np.array([
        math.log(max(len(c.matches), 1)),
        c.precision,
        -math.log(max(1.0 - c.median, 0.003)),
        c.lower,
        math.log(max(area, 1)),
        c.overlap,
    ])

def probability(c: Candidate) -> float:
    n = len(c.matches)
    if c.overlap > 0.15: return 0.0
    if n >= 3 and c.median > 0.972 and c.precision > .4: return 0.9
    if n >= 8 and c.median > 0.8 and c.precision > .8: return 0.8
    return 0.1
