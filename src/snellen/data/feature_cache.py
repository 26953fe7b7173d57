"""Features by the content of files, kept between runs and shared by many processes.

The cache of one backbone is a folder of features named by its fingerprint. Processes add parts of their own and never
wait for each other; what one adds, the others see when they open the cache the next time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from snellen.data.features import FeaturePart, part_files, read_part, write_part
from snellen.errors import DataError, RunFolderError

__all__ = ["FeatureCache"]


class FeatureCache:
    """Vectors of one backbone by the digest of the image's file.

    Args:
        root: Folder of all caches.
        fingerprint: Of backbone, weights and preprocessing.
        backbone: Its name, for people.

    A folder that cannot be written is read all the same; `problem` then says so. A damaged part is passed over, for the
    same reason a cache may be deleted at any time.

    Example:
        >>> import tempfile
        >>> cache = FeatureCache(Path(tempfile.mkdtemp()), "0123", "hog")
        >>> cache.put(["ab"], np.ones((1, 3), np.float32))
        >>> FeatureCache(cache.root, "0123", "hog").get("ab")
        array([1., 1., 1.], dtype=float32)
    """

    def __init__(self, root: Path, fingerprint: str, backbone: str) -> None:
        self.root = root
        self.folder = root / fingerprint
        self.problem = ""
        self._fingerprint, self._backbone = fingerprint, backbone
        self._rows: dict[bytes, tuple[int, int]] = {}
        self._parts: list[npt.NDArray[np.float32]] = []
        for path in part_files(self.folder):
            try:
                part = read_part(path)
            except DataError as error:
                self.problem = error.message
                continue
            if part.fingerprint == fingerprint:
                self._remember(part.digests, part.vectors)

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, digest: str) -> npt.NDArray[np.float32] | None:
        """The vector of a file's content, `None` when it is not known."""
        place = self._rows.get(bytes.fromhex(digest))
        return None if place is None else self._parts[place[0]][place[1]]

    def put(self, digests: Sequence[str], vectors: npt.NDArray[np.float32]) -> None:
        """Add vectors as one part; nothing is lost but time when they cannot be written.

        Args:
            digests: Hash of each file's content.
            vectors: Float32, shape `(len(digests), width)`.
        """
        if not digests:
            return
        part = FeaturePart(tuple(digests), tuple(digests), vectors, self._backbone, self._fingerprint)
        try:
            write_part(self.folder, part)
        except RunFolderError as error:
            self.problem = error.message

    def _remember(self, digests: Sequence[str], vectors: npt.NDArray[np.float32]) -> None:
        for row, digest in enumerate(digests):
            self._rows.setdefault(bytes.fromhex(digest), (len(self._parts), row))
        self._parts.append(vectors)
