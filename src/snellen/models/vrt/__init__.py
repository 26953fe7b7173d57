"""VRT, a video restoration transformer, with a branch for spike cameras."""

from snellen.models.vrt.alignment import Flows
from snellen.models.vrt.configurations import PUBLISHED, VrtArchitecture, published
from snellen.models.vrt.network import VRT
from snellen.models.vrt.spikes import SpikeBranch, SpikeContract
from snellen.models.vrt.spynet import SpyNet
from snellen.models.vrt.temporal import Checkpointing
from snellen.models.vrt.weights import load_official, official_state

__all__ = [
    "PUBLISHED",
    "VRT",
    "Checkpointing",
    "Flows",
    "SpikeBranch",
    "SpikeContract",
    "SpyNet",
    "VrtArchitecture",
    "load_official",
    "official_state",
    "published",
]
