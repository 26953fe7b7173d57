"""The names of Lightning Fabric that the engine uses, imported once and without what they do not need.

`lightning_fabric` imports torchmetrics, and with it torchvision, to compare one version number for its spike
detection. That takes several seconds of every process and nothing here uses it, so torchmetrics is hidden for the
moment of the import; whoever imports it later gets it as usual.
"""

from __future__ import annotations

import logging
import sys

_hide = "torchmetrics" not in sys.modules
if _hide:
    sys.modules["torchmetrics"] = None  # type: ignore[assignment]
try:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision, Precision
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.single_device import SingleDeviceStrategy
    from lightning_fabric.strategies.strategy import Strategy
finally:
    if _hide:
        del sys.modules["torchmetrics"]

# Fabric gives its logger the level INFO and a handler; what it then says of ranks and ports is of no use to users.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

__all__ = ["DDPStrategy", "Fabric", "MixedPrecision", "Precision", "SingleDeviceStrategy", "Strategy"]
