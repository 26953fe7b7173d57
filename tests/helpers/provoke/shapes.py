"""Failures of the family shapes."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from provoke.machinery import case


@case("layout-scrambled")
def permuted_features(folder: Path) -> None:
    import timm

    backbone = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=64, depth=1).eval()
    decoder = torch.nn.Conv2d(192, 8, 1)
    features = backbone.get_intermediate_layers(torch.zeros(1, 3, 64, 64), n=1, reshape=True)[0]
    decoder(features.permute(0, 3, 1, 2))


@case("padding-not-lcm")
def padded_to_stride(folder: Path) -> None:
    import timm

    backbone = timm.create_model("vit_tiny_patch16_224", patch_size=14, depth=1, dynamic_img_size=True)
    image = torch.zeros(1, 3, 230, 230)
    pad_to = ((230 + 31) // 32) * 32
    backbone(F.pad(image, (0, pad_to - image.shape[3], 0, pad_to - image.shape[2])))


@case("channel-mismatch")
def grey_images(folder: Path) -> None:
    from torchvision.models import resnet18

    resnet18()(torch.zeros(2, 1, 64, 64))


@case("channel-mismatch")
def grey_normalised(folder: Path) -> None:
    from PIL import Image
    from torchvision import transforms

    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    )
    transform(Image.new("L", (28, 28)))


@case("channel-mismatch")
def alpha_normalised(folder: Path) -> None:
    from PIL import Image
    from torchvision.transforms.functional import normalize, to_tensor

    normalize(to_tensor(Image.new("RGBA", (28, 28))), mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])


@case("channel-mismatch")
def channels_left_last(folder: Path) -> None:
    stem = torch.nn.Conv2d(3, 16, 3)
    stem(torch.zeros(2, 48, 64, 3))


@case("channel-mismatch")
def narrower_norm(folder: Path) -> None:
    torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.BatchNorm2d(64))(torch.zeros(2, 3, 16, 16))


@case("patch-multiple")
def odd_image(folder: Path) -> None:
    import timm

    backbone = timm.create_model("vit_tiny_patch16_224", depth=1, dynamic_img_size=True)
    backbone(torch.zeros(1, 3, 250, 333))


@case("patch-multiple")
def untiled_windows(folder: Path) -> None:
    def window_partition(x: torch.Tensor, window_size: int) -> torch.Tensor:
        batch, height, width, channels = x.shape
        x = x.view(batch, height // window_size, window_size, width // window_size, window_size, channels)
        return x.permute(0, 1, 3, 2, 4, 5)

    window_partition(torch.zeros(1, 64, 64, 96), 7)


@case("patch-multiple")
def unshuffled_odd(folder: Path) -> None:
    F.pixel_unshuffle(torch.zeros(1, 3, 65, 64), 2)


@case("patch-multiple")
def window_of_eight(folder: Path) -> None:
    from timm.models.maxxvit import window_partition

    window_partition(torch.zeros(1, 28, 28, 8), [8, 8])


@case("spatial-mismatch")
def rounded_skip(folder: Path) -> None:
    image = torch.zeros(1, 3, 222, 222)
    skip = F.max_pool2d(image, 2)
    deep = F.max_pool2d(skip, 2)
    up = F.interpolate(deep, scale_factor=2)
    torch.cat([up, skip], dim=1)


@case("spatial-mismatch")
def other_image_size(folder: Path) -> None:
    import timm

    timm.create_model("vit_tiny_patch16_224", depth=1)(torch.zeros(1, 3, 256, 256))


@case("spatial-mismatch")
def position_embedding(folder: Path) -> None:
    tokens = torch.zeros(1, 1 + 16 * 16, 8)
    pos_embed = torch.zeros(1, 1 + 14 * 14, 8)
    tokens + pos_embed


@case("spatial-mismatch")
def mask_of_other_size(folder: Path) -> None:
    F.binary_cross_entropy_with_logits(torch.zeros(2, 1, 254, 254), torch.zeros(2, 1, 256, 256))


@case("linear-shape")
def larger_images(folder: Path) -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, padding=1), torch.nn.MaxPool2d(4), torch.nn.Flatten(), torch.nn.Linear(16 * 8 * 8, 10)
    )
    net(torch.zeros(4, 3, 48, 48))


@case("linear-shape")
def not_flattened(folder: Path) -> None:
    classifier = torch.nn.Linear(16 * 6 * 6, 10)
    classifier(torch.zeros(2, 16, 6, 6))


@case("linear-shape")
def head_of_other_backbone(folder: Path) -> None:
    head = torch.nn.Linear(512, 5)
    head(torch.zeros(8, 384))


@case("channels-last-rank")
def image_without_batch(folder: Path) -> None:
    image = torch.zeros(3, 64, 64)
    image.to(memory_format=torch.channels_last)


@case("channels-last-rank")
def volume_model(folder: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3), torch.nn.ReLU())
    model.to(memory_format=torch.channels_last)


@case("view-stride")
def accuracy_of_five(folder: Path) -> None:
    output, target = torch.rand(8, 10), torch.arange(8)
    _, pred = output.topk(5, 1, True, True)
    pred = pred.t()
    correct = pred.eq(target.view(1, -1).expand_as(pred))
    correct[:5].view(-1).float().sum(0, keepdim=True)


@case("view-stride")
def viewed_after_permute(folder: Path) -> None:
    features = torch.zeros(2, 8, 4, 4)
    features.permute(0, 2, 3, 1).view(2, -1)


@case("batchnorm-single-value")
def last_batch_of_one(folder: Path) -> None:
    from torch.utils.data import DataLoader, TensorDataset

    head = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4))
    for (batch,) in DataLoader(TensorDataset(torch.zeros(9, 6)), batch_size=4):
        head(batch)


@case("batchnorm-single-value")
def image_pooling(folder: Path) -> None:
    pooling = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Conv2d(8, 4, 1), torch.nn.BatchNorm2d(4))
    pooling(torch.zeros(1, 8, 16, 16))
