"""What lies in a data folder: one file per layout, one walk of the folder for all of them."""

from __future__ import annotations

from snellen.data.layouts.base import Listing
from snellen.data.layouts.reading import LAYOUTS, read_layout, reading_once
from snellen.data.layouts.splits import splits_of

__all__ = ["LAYOUTS", "Listing", "read_layout", "reading_once", "splits_of"]
