"""Sub-pixel refinement of a transform over the area that it explains."""

from __future__ import annotations

import cv2
import numpy as np

from snellen.models.forgery.detection import Area
from snellen.models.forgery.keypoint.correlation import Matrix
from snellen.models.forgery.keypoint.features import FloatArray

__all__ = ["refine_matrix"]

_ITERATIONS = 5
_MOST_PIXELS = 6000
_FARTHEST = 3.0


def refine_matrix(smooth: FloatArray, area: Area, matrix: Matrix) -> Matrix:
    """Gauss-Newton alignment of the area with its image under `matrix` (Lucas and Kanade, with gain and offset).

    Keypoints fix a transform to half a pixel; fine detail agrees only where it is right to a tenth.

    Args:
        smooth: The image, blurred by about one pixel; shape `(height, width)`.
        area: The source.
        matrix: Where to start.

    Returns:
        The refined matrix, or `matrix` itself where the alignment runs away.
    """
    rows, columns = np.nonzero(area.mask)
    if len(rows) < 50:
        return matrix
    step = max(1, len(rows) // _MOST_PIXELS)
    x = (columns[::step] + area.box[0]).astype(np.float64)
    y = (rows[::step] + area.box[1]).astype(np.float64)
    centre = np.array([x.mean(), y.mean()])
    basis = np.stack([x - centre[0], y - centre[1], np.ones_like(x)], axis=1)
    # In centred coordinates the six unknowns are of like size and the normal equations well conditioned.
    current = np.column_stack([matrix[:, :2], matrix[:, :2] @ centre + matrix[:, 2]])
    start = current.copy()
    target = smooth[y.astype(np.intp), x.astype(np.intp)].astype(np.float64)
    for _ in range(_ITERATIONS):
        change = _step(smooth, basis, target, current)
        if change is None:
            return matrix
        current = current + change
        if np.abs(change[:, 2]).max() < 0.01:
            break
    moved = basis @ (current - start).T
    if not np.isfinite(moved).all() or np.abs(moved).max() > _FARTHEST:
        return matrix
    return np.column_stack([current[:, :2], current[:, 2] - current[:, :2] @ centre])


def _step(smooth: FloatArray, basis: Matrix, target: Matrix, current: Matrix) -> Matrix | None:
    position = (basis @ current.T).astype(np.float32)
    x, y = position[:, :1], position[:, 1:]
    value = _sample(smooth, x, y)
    slope_x = (_sample(smooth, x + 1, y) - _sample(smooth, x - 1, y)) / 2
    slope_y = (_sample(smooth, x, y + 1) - _sample(smooth, x, y - 1)) / 2
    jacobian = np.concatenate(
        [slope_x[:, None] * basis, slope_y[:, None] * basis, value[:, None], np.ones((len(value), 1))], axis=1
    )
    normal = jacobian.T @ jacobian
    normal[np.diag_indices(8)] *= 1.0 + 1e-6
    try:
        solution = np.linalg.solve(normal, jacobian.T @ target)
    except np.linalg.LinAlgError:
        return None
    gain = solution[6]
    if not 0.3 < gain < 3.0:
        return None
    change: Matrix = solution[:6].reshape(2, 3) / gain
    return change


def _sample(plane: FloatArray, x: FloatArray, y: FloatArray) -> Matrix:
    values = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return values.ravel().astype(np.float64)
