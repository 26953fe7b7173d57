"""The names of Lightning Fabric that the engine uses, imported once and without the side effects of that import."""

from __future__ import annotations

import logging
import os
import sys

_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"

# Fabric imports torchmetrics, and with it torchvision, to compare one version number for its spike detection. That
# takes seconds of every process and nothing here uses it; whoever imports torchmetrics later gets it as usual.
_hide = "torchmetrics" not in sys.modules
_former = os.environ.get(_NVML)
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
    # With this variable, which Fabric sets for processes that it forks, every step of every optimiser looks for the
    # NVML library on the disk of a machine without a GPU. The engine forks no process that uses a GPU.
    if _former is None:
        os.environ.pop(_NVML, None)
# Fabric gives its logger the level INFO and a handler; what it then says of ranks and ports is of no use to users.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

__all__ = ["DDPStrategy", "Fabric", "MixedPrecision", "Precision", "SingleDeviceStrategy", "Strategy"]
