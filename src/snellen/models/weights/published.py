"""Networks that are published in repositories of their own, told by the names and shapes of their tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Final

from snellen.core.facts.weights import Architecture
from snellen.core.known.sam import WIDTHS

__all__ = ["counted", "recognise_published", "square_grid"]

Shapes = Mapping[str, tuple[int, ...]]


def recognise_published(shapes: Shapes) -> Architecture | None:
    """The network, `None` when it is none of these.

    Example:
        >>> recognise_published({"fc.weight": (10, 4)}) is None
        True
    """
    return next((found for look in _LOOKS if (found := look(shapes)) is not None), None)


def counted(shapes: Shapes, pattern: str) -> int:
    r"""How many different numbers stand at the group of a pattern: the number of blocks.

    Example:
        >>> counted({"blocks.0.a": (), "blocks.1.a": ()}, r"^blocks\.(\d+)\.")
        2
    """
    found = re.compile(pattern)
    return len({match[1] for name in shapes if (match := found.search(name))})


def square_grid(tokens: int, *, beside: tuple[int, ...] = (1, 0, 2, 5)) -> tuple[int, int] | None:
    """Rows and columns of so many positions, less a few tokens beside the grid.

    Example:
        >>> square_grid(197), square_grid(1370), square_grid(7)
        ((14, 14), (37, 37), None)
    """
    for extra in beside:
        side = math.isqrt(max(0, tokens - extra))
        if side > 1 and side * side == tokens - extra:
            return side, side
    return None


_DINOV2: Final = {384: ("s", 12), 768: ("b", 12), 1024: ("l", 24), 1536: ("g", 40)}
_DINOV3: Final = {384: ("s", 12), 768: ("b", 12), 1024: ("l", 24), 1280: ("h_plus", 32), 4096: ("7b", 40)}


def _dinov2(shapes: Shapes) -> Architecture | None:
    """The official names and those of transformers; timm's own are told by timm."""
    hub = "embeddings.patch_embeddings.projection.weight"
    official = "patch_embed.proj.weight" in shapes and "mask_token" in shapes
    patch = shapes.get("patch_embed.proj.weight" if official else hub, ())
    scale = r"^blocks\.(?:\d+\.)?(\d+)\.ls1\.gamma$" if official else r"^encoder\.layer\.(\d+)\.layer_scale1\.lambda1$"
    layers = counted(shapes, scale)
    if len(patch) != 4 or patch[2:] != (14, 14) or not layers:
        return None
    registers = shapes.get("register_tokens" if official else "embeddings.register_tokens", (0, 0))[1]
    letter, depth = _DINOV2.get(patch[0], ("", 0))
    positions = shapes.get("pos_embed" if official else "embeddings.position_embeddings", (0, 0, 0))
    grid = square_grid(positions[1])
    spelled = (
        f"{patch[0]} channels after a patch of 14 x 14, {layers} blocks with layer scale, {registers} register tokens"
    )
    evidence = (spelled, "the names of " + ("facebookresearch/dinov2" if official else "transformers"))
    if not letter or registers not in (0, 4):
        return Architecture(evidence=evidence, nearest=("DINOv2 of no published size",), grid=grid)
    register = "_reg" if registers else ""
    size = {"s": "small", "b": "base", "l": "large", "g": "giant"}[letter]
    timm = f"timm:vit_{size}_patch14{'_reg4' if registers else ''}_dinov2"
    name = f"dinov2_vit{letter}14{register}"
    also = (timm, f"transformers:facebook/dinov2-{'with-registers-' if registers else ''}{size}")
    return Architecture(
        "",
        name,
        "dinov2" if official else "transformers",
        min(1.0, layers / depth),
        evidence,
        also,
        (),
        None,
        grid,
        grid[0] * 14 if grid else None,
        "Apache-2.0",
        "github.com/facebookresearch/dinov2",
    )


def _dinov3(shapes: Shapes) -> Architecture | None:
    patch = shapes.get("patch_embed.proj.weight", ())
    if "rope_embed.periods" not in shapes or "storage_tokens" not in shapes or not patch:
        return None
    letter, depth = _DINOV3.get(patch[0], ("", 1))
    layers = counted(shapes, r"^blocks\.(\d+)\.")
    evidence = (f"storage_tokens, rope_embed.periods, width {patch[0]}, {layers} blocks",)
    name = f"dinov3_vit{letter.replace('h_plus', 'h')}16{'plus' if letter == 'h_plus' else ''}" if letter else ""
    return Architecture(
        "",
        name,
        "dinov3",
        min(1.0, layers / depth),
        evidence,
        licence="DINOv3 Licence" if letter else "",
        licence_source="github.com/facebookresearch/dinov3",
    )


_CLIP: Final = {
    (768, 32, 12): "ViT-B-32",
    (768, 16, 12): "ViT-B-16",
    (1024, 14, 24): "ViT-L-14",
    (1280, 14, 32): "ViT-H-14",
    (1408, 14, 40): "ViT-g-14",
    (1664, 14, 48): "ViT-bigG-14",
}
_CLIP_RESNETS: Final[dict[tuple[int, ...], str]] = {
    (3, 4, 6, 3): "RN50",
    (3, 4, 23, 3): "RN101",
    (4, 6, 10, 6): "RN50x4",
    (6, 8, 18, 8): "RN50x16",
    (3, 15, 36, 10): "RN50x64",
}
_OF_OPENAI = ("ViT-B-32", "ViT-B-16", "ViT-L-14")


def _clip(shapes: Shapes) -> Architecture | None:
    """OpenAI's names, which open_clip has kept, with or without the image tower's prefix; those of transformers."""
    hub = shapes.get("vision_model.embeddings.patch_embedding.weight")
    if hub is not None and "vision_model.pre_layrnorm.weight" in shapes:
        layers = counted(shapes, r"^vision_model\.encoder\.layers\.(\d+)\.")
        positions = shapes.get("vision_model.embeddings.position_embedding.weight", (0, 0))[0]
        return _clip_vit(shapes, hub, layers, positions, "transformers", "text_model." in " ".join(shapes))
    for prefix in ("visual.", ""):
        patch = shapes.get(f"{prefix}conv1.weight", ())
        if f"{prefix}class_embedding" in shapes and f"{prefix}ln_pre.weight" in shapes and len(patch) == 4:
            layers = counted(shapes, rf"^{re.escape(prefix)}transformer\.resblocks\.(\d+)\.")
            positions = shapes.get(f"{prefix}positional_embedding", (0, 0))[0]
            text = bool(prefix) and any("token_embedding.weight" in name for name in shapes)
            return _clip_vit(shapes, patch, layers, positions, "clip", text)
        if f"{prefix}attnpool.positional_embedding" in shapes:
            stages = tuple(counted(shapes, rf"^{re.escape(prefix)}layer{stage}\.(\d+)\.") for stage in range(1, 5))
            name = _CLIP_RESNETS.get(stages, "")
            evidence = (f"attention pooling behind a ResNet of {stages} blocks",)
            return Architecture(
                "",
                f"CLIP {name}" if name else "",
                "clip",
                1.0 if name else 0.0,
                evidence,
                licence="MIT",
                licence_source="github.com/openai/CLIP",
            )
    if "token_embedding.weight" in shapes and "text_projection" in shapes:
        width = shapes["token_embedding.weight"][-1]
        return Architecture("", f"CLIP text tower of width {width}", "clip", 0.0, ("token_embedding, text_projection",))
    return None


def _clip_vit(
    shapes: Shapes, patch: tuple[int, ...], layers: int, positions: int, library: str, text: bool
) -> Architecture:
    side = patch[-1]
    grid = square_grid(positions)
    name = _CLIP.get((patch[0], side, layers), "")
    towers = "image and text tower" if text else "image tower alone"
    evidence = (f"{towers}: width {patch[0]}, patch {side}, {layers} blocks, {positions} positions",)
    if not name:
        return Architecture(evidence=evidence, nearest=("a CLIP image transformer of no published size",), grid=grid)
    larger = "-336" if name == "ViT-L-14" and grid == (24, 24) else ""
    scalars = "input_resolution" in shapes
    source = "github.com/openai/CLIP" if scalars else "github.com/openai/CLIP, if they are OpenAI's"
    known = name in _OF_OPENAI
    note = (
        () if scalars or not known else ("whose weights they are (OpenAI's or of open_clip) cannot be told from names",)
    )
    return Architecture(
        "",
        f"CLIP {name}{larger}",
        library,
        1.0,
        (*evidence, *note),
        (f"open_clip:{name}{larger}",),
        (),
        None,
        grid,
        grid[0] * side if grid else None,
        "MIT" if known else "",
        source if known else "",
    )


def _sam(shapes: Shapes) -> Architecture | None:
    patch = shapes.get("image_encoder.patch_embed.proj.weight")
    library = "segment-anything"
    if patch is None and "shared_image_embedding.positional_embedding" in shapes:
        patch, library = shapes.get("vision_encoder.patch_embed.projection.weight"), "transformers"
    decoder = any(name.startswith("mask_decoder.") for name in shapes)
    mobile = "image_encoder.patch_embed.seq.0.c.weight" in shapes
    if (patch is None and not mobile) or not (decoder or any("rel_pos_h" in name for name in shapes)):
        return None
    variant = "vit_t" if patch is None else WIDTHS.get(patch[0], "")
    high = any(name.startswith("mask_decoder.hf_token") for name in shapes)
    layers = counted(shapes, r"^(?:image_encoder\.blocks|vision_encoder\.layers)\.(\d+)\.")
    depth = {"vit_b": 12, "vit_l": 24, "vit_h": 32}.get(variant, 0)
    evidence = (f"image encoder of width {patch[0] if patch else 'of TinyViT'}, {layers} blocks; mask decoder",)
    positions = shapes.get("image_encoder.pos_embed", shapes.get("vision_encoder.pos_embed", ()))
    grid = (positions[1], positions[2]) if len(positions) == 4 else None
    if not variant or (depth and layers != depth):
        return Architecture(evidence=evidence, nearest=("SAM of no published size",), grid=grid)
    name = f"{'hq_' if high else ''}sam_{variant}" if variant != "vit_t" else "mobile_sam vit_t"
    side = grid[0] * 16 if grid else None
    return Architecture(
        "",
        name,
        library,
        1.0,
        evidence,
        (),
        (),
        None,
        grid,
        side,
        "Apache-2.0",
        "github.com/facebookresearch/segment-anything" if not high and depth else "its repository",
    )


def _sam2(shapes: Shapes) -> Architecture | None:
    patch = shapes.get("image_encoder.trunk.patch_embed.proj.weight")
    if patch is None:
        return None
    layers = counted(shapes, r"^image_encoder\.trunk\.blocks\.(\d+)\.")
    sizes = {(96, 12): "tiny", (96, 16): "small", (112, 24): "base_plus", (144, 48): "large"}
    size = sizes.get((patch[0], layers), "")
    newer = "no_obj_embed_spatial" in shapes or "obj_ptr_tpos_proj.weight" in shapes
    evidence = (f"Hiera of width {patch[0]} with {layers} blocks" + ("; no_obj_embed_spatial" if newer else ""),)
    name = f"sam2{'.1' if newer else ''}_hiera_{size}" if size else ""
    return Architecture(
        "",
        name,
        "sam2",
        1.0 if size else 0.0,
        evidence,
        licence="Apache-2.0" if size else "",
        licence_source="github.com/facebookresearch/sam2",
    )


def _vrt(shapes: Shapes) -> Architecture | None:
    first = shapes.get("conv_first.weight", ())
    if len(first) != 5 or not any(name.startswith("stage1.residual_group1.blocks.0.attn.") for name in shapes):
        return None
    flow = any(name.startswith("spynet.") for name in shapes)
    larger = any(name.startswith("upsample.") for name in shapes)
    position = shapes.get("stage1.pa_deform.weight", (0, 0, 0, 0))
    groups = shapes.get("stage1.pa_deform.conv_offset.0.weight", (0, 0))[1]
    if "linear_fuse.weight" in shapes:
        job, number = "frame interpolation", "VRT_videofi"
    elif larger:
        job, number = "super-resolution x4", "VRT_videosr"
    elif first[1] % 3:
        job, number = "denoising (a noise level as fourth channel)", "VRT_videodenoising"
    else:
        job, number = "deblurring", "VRT_videodeblurring"
    stages = counted(shapes, r"^stage(\d+)\.")
    depth = counted(shapes, r"^stage1\.residual_group1\.blocks\.(\d+)\.") + counted(
        shapes, r"^stage1\.residual_group2\.blocks\.(\d+)\."
    )
    evidence = (
        f"conv_first takes {first[1]} channels and gives {first[0]}; {stages} stages, {depth} blocks in the first; "
        + (f"SpyNet inside, alignment {position[:1]} with {groups} inputs" if flow else "no optical flow inside"),
        f"its parts are those of {job}",
    )
    full = first[0] in (96, 120) and stages >= 8 and depth == 8
    if not full:
        return Architecture(evidence=evidence, nearest=("VRT of no published size",))
    return Architecture(
        "", number, "VRT", 1.0, evidence, licence="CC-BY-NC-4.0", licence_source="github.com/JingyunLiang/VRT"
    )


_HUB: Final = (
    ("vit.embeddings.", "transformers ViT"),
    ("swin.embeddings.", "transformers Swin"),
    ("convnext.embeddings.", "transformers ConvNeXt"),
    ("segformer.encoder.", "transformers SegFormer"),
    ("deit.embeddings.", "transformers DeiT"),
    ("beit.embeddings.", "transformers BEiT"),
    ("resnet.embedder.", "transformers ResNet"),
)


def _others(shapes: Shapes) -> Architecture | None:
    """Networks of which the family is told and the size is not."""
    if any(name.endswith("dfl.conv.weight") for name in shapes):
        return Architecture(
            "",
            "Ultralytics YOLO detector",
            "ultralytics",
            0.0,
            ("a layer dfl.conv",),
            licence="AGPL-3.0",
            licence_source="github.com/ultralytics/ultralytics",
        )
    first = next(iter(shapes), "")
    for prefix, name in _HUB:
        if first.startswith(prefix):
            return Architecture("", "", "transformers", 0.0, (f"names begin with {prefix}",), nearest=(name,))
    return None


_LOOKS: Final[tuple[Callable[[Shapes], Architecture | None], ...]] = (
    _dinov3,
    _dinov2,
    _clip,
    _sam2,
    _sam,
    _vrt,
    _others,
)
