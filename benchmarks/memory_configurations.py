"""The configurations whose memory is predicted and measured: those the rules were found on, and those held out.

The rules of thumb of `snellen.estimate.processor_kernels` were found by looking at `FITTED`. `HELD_OUT` are other
networks, sizes and batches that nobody had looked at when their first figures were taken: a median error of 0.0%, a
90th percentile of 3.6% and a worst of 10.1%, which was mended by PyTorch's own choice of library. The last five are
of later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from snellen.estimate.step import Phase

__all__ = ["FITTED", "HELD_OUT", "Case", "build", "inputs"]


@dataclass(frozen=True)
class Case:
    """One configuration."""

    name: str
    model: str
    shape: tuple[int, ...]
    batch: int
    optimiser: str = "adamw"
    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    phase: Phase = "train"
    checkpointing: bool = False
    accumulate: int = 1

    @property
    def label(self) -> str:
        """For people."""
        extra = " checkpointing" if self.checkpointing else ""
        extra += f" accumulate {self.accumulate}" if self.accumulate > 1 else ""
        side = "x".join(map(str, self.shape))
        return f"{self.name} {side} b{self.batch} {self.optimiser} {self.precision} {self.phase}{extra}"


def _fitted() -> list[Case]:
    image, small = (3, 224, 224), (3, 128, 128)
    return [
        Case("resnet18", "torchvision:resnet18", image, 8, "sgd"),
        Case("resnet18", "torchvision:resnet18", image, 8, phase="predict"),
        Case("resnet50", "torchvision:resnet50", image, 4, "sgd"),
        Case("resnet50", "torchvision:resnet50", image, 4),
        Case("resnet50", "torchvision:resnet50", image, 4, "sgd", "bf16"),
        Case("resnet50", "torchvision:resnet50", image, 8, phase="predict"),
        Case("resnet50", "torchvision:resnet50", (3, 160, 256), 4, accumulate=2),
        Case("efficientnet_b0", "timm:efficientnet_b0", image, 4),
        Case("efficientnet_b0", "timm:efficientnet_b0", image, 4, "sgd", "bf16"),
        Case("efficientnet_b0", "timm:efficientnet_b0", image, 8, phase="predict"),
        Case("convnext_tiny", "timm:convnext_tiny", image, 4),
        Case("convnext_tiny", "timm:convnext_tiny", image, 4, precision="bf16"),
        Case("convnext_tiny", "timm:convnext_tiny", image, 4, checkpointing=True),
        Case("vit_small", "timm:vit_small_patch16_224", image, 8),
        Case("vit_small", "timm:vit_small_patch16_224", image, 8, precision="bf16"),
        Case("vit_small", "timm:vit_small_patch16_224", image, 8, precision="fp16"),
        Case("vit_small", "timm:vit_small_patch16_224", image, 8, checkpointing=True),
        Case("vit_small", "timm:vit_small_patch16_224", image, 8, phase="predict"),
        Case("vit_b_16", "torchvision:vit_b_16", image, 4),
        Case("swin_tiny", "timm:swin_tiny_patch4_window7_224", image, 4),
        Case("dinov2_s", "timm:vit_small_patch14_dinov2", (3, 518, 518), 2),
        Case("dinov2_s", "timm:vit_small_patch14_dinov2", (3, 518, 518), 2, precision="bf16"),
        Case("dinov2_s", "timm:vit_small_patch14_dinov2", (3, 518, 518), 4, phase="predict"),
        Case("dinov2_b", "timm:vit_base_patch14_dinov2", (3, 518, 518), 1, "sgd"),
        Case("unet_resnet18", "smp:Unet", (3, 256, 256), 4),
        Case("unet_resnet18", "smp:Unet", (3, 256, 256), 4, "sgd", "bf16"),
        Case("unet_resnet18", "smp:Unet", (3, 320, 192), 4, phase="predict"),
        Case("deeplabv3plus", "smp:DeepLabV3Plus", (3, 256, 256), 4),
        Case("deeplabv3", "torchvision:segmentation.deeplabv3_resnet50", (3, 256, 256), 2, "sgd"),
        Case("maskrcnn", "torchvision:detection.maskrcnn_resnet50_fpn", (3, 320, 320), 1, phase="predict"),
        Case("fcos_backbone", "timm:resnet26d", (3, 320, 320), 4),
        Case("sam_vit_b_encoder", "timm:samvit_base_patch16", (3, 512, 512), 1, phase="predict"),
        Case("sam_vit_b_encoder", "timm:samvit_base_patch16", (3, 512, 512), 1, "sgd"),
        Case("r3d_18", "torchvision:video.r3d_18", (3, 8, 112, 112), 2, "sgd"),
        Case("mc3_18", "torchvision:video.mc3_18", (3, 8, 112, 112), 2),
        Case("swin3d_t", "torchvision:video.swin3d_t", (3, 8, 112, 112), 1),
        Case("mobilenet_v3", "torchvision:mobilenet_v3_large", small, 8),
    ]


def _held_out() -> list[Case]:
    image = (3, 224, 224)
    detector = "torchvision:detection.fasterrcnn_mobilenet_v3_large_fpn"
    return [
        Case("regnety", "timm:regnety_008", image, 6, "sgd"),
        Case("mobilenetv3_small", "timm:mobilenetv3_small_100", (3, 192, 256), 12, precision="bf16"),
        Case("swin_v2", "torchvision:swin_v2_t", (3, 256, 256), 3),
        Case("fcn", "torchvision:segmentation.fcn_resnet50", (3, 200, 264), 2),
        Case("unetplusplus", "smp:UnetPlusPlus", (3, 224, 160), 3, "sgd", "bf16"),
        Case("fasterrcnn", detector, (3, 300, 420), 2, "sgd"),
        Case("fasterrcnn", detector, (3, 300, 420), 2, phase="predict"),
        Case("r2plus1d", "torchvision:video.r2plus1d_18", (3, 6, 96, 96), 3),
        Case("clip_vit", "timm:vit_base_patch32_clip_224", image, 16, precision="bf16"),
        Case("densenet", "torchvision:densenet121", image, 3, "sgd"),
        Case("maxvit", "timm:maxvit_nano_rw_256", (3, 256, 256), 2),
        Case("resnet18_many", "torchvision:resnet18", (3, 96, 96), 64),
        Case("convnextv2_odd", "timm:convnextv2_atto", (3, 257, 193), 5),
        Case("lraspp", "torchvision:segmentation.lraspp_mobilenet_v3_large", (3, 270, 482), 3, phase="predict"),
        Case("mobilevit", "timm:mobilevit_s", (3, 256, 256), 4, accumulate=2),
        Case("fpn", "smp:FPN", (3, 288, 224), 4, precision="bf16"),
        Case("shufflenet", "torchvision:shufflenet_v2_x1_0", image, 16, phase="predict"),
        Case("retinanet", "torchvision:detection.retinanet_resnet50_fpn", (3, 256, 384), 1, phase="predict"),
        # Added when the rules had been mended on those above.
        Case("resnext", "torchvision:resnext50_32x4d", (3, 200, 168), 3, "sgd"),
        Case("ghostnet", "timm:ghostnet_100", image, 20, phase="predict"),
        Case("mnasnet", "torchvision:mnasnet0_5", (3, 160, 160), 20, "sgd"),
        Case("linknet", "smp:Linknet", (3, 192, 256), 5, precision="bf16"),
        Case("s3d", "torchvision:video.s3d", (3, 16, 224, 224), 1),
    ]


FITTED = _fitted()
HELD_OUT = _held_out()


def build(case: Case) -> nn.Module:
    """The model of a case with random weights."""
    library, _, name = case.model.partition(":")
    if library == "timm":
        import timm

        size: dict[str, Any] = {"img_size": case.shape[-2:]} if "vit" in name and "224" not in name else {}
        model: Any = timm.create_model(name, pretrained=False, **size)
    elif library == "smp":
        import segmentation_models_pytorch as smp

        model = getattr(smp, name)("resnet18", encoder_weights=None, classes=3)
    else:
        import torchvision

        factory: Any = torchvision.models
        for part in name.split("."):
            factory = getattr(factory, part)
        nothing = {"weights_backbone": None} if "segmentation" in name or "detection" in name else {}
        model = factory(weights=None, **nothing)
    if case.checkpointing:
        model.set_grad_checkpointing()
    return model  # type: ignore[no-any-return]


def inputs(case: Case, batch: int) -> Any:
    """A batch: a tensor, or what a detector takes, with one box an image when it learns."""
    if "detection" not in case.model:
        return torch.rand(batch, *case.shape)
    images = [torch.rand(case.shape) for _ in range(batch)]
    if case.phase == "predict":
        return (images,)
    box = [0.1 * case.shape[-1], 0.1 * case.shape[-2], 0.6 * case.shape[-1], 0.7 * case.shape[-2]]
    targets = [{"boxes": torch.tensor([box]), "labels": torch.ones(1, dtype=torch.int64)} for _ in range(batch)]
    return images, targets
