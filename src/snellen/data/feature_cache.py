"""Features by the content of files, kept between runs and shared by many processes.

The cache of one backbone is a folder of features named by its fingerprint. Processes add parts of their own and never
wait for each other; what one adds, the others see when they open the cache the next time, or `refresh` it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from snellen.data.features import FeaturePart, part_files, read_part, write_part
from snellen.errors import DataError, RunFolderError

__all__ = ["FeatureCache"]

_KEPT: Final = 64 * 2**20
"""Bytes of vectors that are kept at hand; of all others only their place is known."""


class FeatureCache:
    """Vectors of one backbone by the digest of the image's file.

    Args:
        root: Folder of all caches.
        fingerprint: Of backbone, weights and preprocessing.
        backbone: Its name, for people.

    A folder that cannot be written is read all the same; `problem` then says so. A damaged part is passed over, for the
    same reason a cache may be deleted at any time. Threads may ask at once.

    Example:
        >>> import tempfile
        >>> cache = FeatureCache(Path(tempfile.mkdtemp()), "0123", "hog")
        >>> cache.put(["ab" * 16], np.ones((1, 3), np.float32))
        >>> cache.refresh()
        >>> cache.get("ab" * 16)
        array([1., 1., 1.], dtype=float32)
    """

    def __init__(self, root: Path, fingerprint: str, backbone: str) -> None:
        self.root = root
        self.folder = root / fingerprint
        self.problem = ""
        self._fingerprint, self._backbone = fingerprint, backbone
        self._lock = threading.Lock()
        self._known: set[Path] = set()
        self._parts: list[Path] = []
        # Sorted keys of 64 bits and the places of their rows: sixteen bytes for each image.
        self._keys = np.zeros(0, np.uint64)
        self._places = np.zeros((0, 2), np.int32)
        self._at_hand: OrderedDict[int, FeaturePart] = OrderedDict()
        self._bytes = 0
        self.refresh()

    def __len__(self) -> int:
        return len(self._keys)

    def refresh(self) -> None:
        """Look for what was added since, by this process or another."""
        keys, places = [self._keys], [self._places]
        for path in part_files(self.folder):
            if path in self._known:
                continue
            self._known.add(path)
            part = self._read(path)
            if part is None or not part.digests:
                continue
            keys.append(np.array([_key(digest) for digest in part.digests], np.uint64))
            rows = np.arange(len(part.digests), dtype=np.int32)
            places.append(np.stack([np.full_like(rows, len(self._parts)), rows], axis=1))
            self._parts.append(path)
        if len(keys) == 1:
            return
        # Stable: of rows with one key, the first written counts.
        joined, where = np.unique(np.concatenate(keys), return_index=True)
        with self._lock:
            self._keys, self._places = joined, np.concatenate(places)[where]

    def get(self, digest: str) -> npt.NDArray[np.float32] | None:
        """The vector of a file's content, `None` when it is not known."""
        key = np.uint64(_key(digest))
        with self._lock:
            index = int(np.searchsorted(self._keys, key))
            if index == len(self._keys) or self._keys[index] != key:
                return None
            number, row = self._places[index]
            part = self._part(int(number))
        if part is None or row >= len(part.digests) or part.digests[row] != digest:
            return None
        vector: npt.NDArray[np.float32] = part.vectors[row].copy()
        return vector

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

    def _part(self, number: int) -> FeaturePart | None:
        part = self._at_hand.get(number)
        if part is None:
            part = self._read(self._parts[number])
            if part is None:
                return None
            self._at_hand[number] = part
            self._bytes += part.vectors.nbytes
            while self._bytes > _KEPT and len(self._at_hand) > 1:
                self._bytes -= self._at_hand.popitem(last=False)[1].vectors.nbytes
        self._at_hand.move_to_end(number)
        return part

    def _read(self, path: Path) -> FeaturePart | None:
        try:
            part = read_part(path)
        except DataError as error:
            self.problem = error.message
            return None
        if part.fingerprint != self._fingerprint:
            self.problem = f"{path} holds features of {part.backbone} ({part.fingerprint}); it is passed over"
            return None
        return part


def _key(digest: str) -> int:
    return int(digest[:16], 16)
