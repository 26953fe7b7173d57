"""timm backbones: the contract read from timm is what the network does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from snellen.errors import ContractError, UsageError, WeightsError
from snellen.models.backbones.from_timm import describe_backbone, load_backbone

ARCHITECTURES = ["resnet10t", "convnext_atto", "mobilenetv3_small_050", "test_vit", "swin_tiny_patch4_window7_224"]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_contract_is_what_the_network_gives(name: str) -> None:
    backbone = load_backbone(name).eval()
    contract = backbone.contract
    height, width = 4 * contract.side_multiple, 6 * contract.side_multiple
    with torch.inference_mode():
        features = backbone(torch.zeros(2, 3, height, width))
    assert features.shape == (2, contract.out_channels, height // contract.stride, width // contract.stride)


def test_dinov2_by_its_own_name_gives_384_channels_at_stride_14() -> None:
    contract = describe_backbone("dinov2_vits14")
    assert (contract.out_channels, contract.stride, contract.side_multiple) == (384, 14, 14)
    assert contract.mean == (0.485, 0.456, 0.406)
    assert contract.licence == "apache-2.0"


def test_every_parameter_left_in_the_backbone_gets_a_gradient() -> None:
    backbone = load_backbone("resnet10t", max_stride=4)
    backbone(torch.rand(2, 3, 32, 32)).sum().backward()
    assert [name for name, parameter in backbone.named_parameters() if parameter.grad is None] == []


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="dinov2_vits14"):
        load_backbone("dinov2_vits41")


def test_weights_go_round_and_a_foreign_file_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = load_backbone("test_vit")
    whole = {name: value.contiguous() for name, value in load_backbone("test_vit").network.state_dict().items()}
    with pytest.raises(WeightsError, match="0 of"):
        load_backbone("test_vit", weights=_saved({"unrelated": torch.zeros(1)}, tmp_path / "foreign.safetensors"))
    second = load_backbone("test_vit", weights=_saved(_full_state(), tmp_path / "own.safetensors"))
    assert second.contract.weights.endswith("own.safetensors")
    assert set(whole) == set(second.network.state_dict())
    assert first.contract.weights == "random"


def _full_state() -> dict[str, torch.Tensor]:
    import timm

    return timm.create_model("test_vit", num_classes=0).state_dict()  # type: ignore[no-any-return]


def _saved(state: dict[str, torch.Tensor], path: Path) -> Path:
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


def test_a_size_that_breaks_the_patch_is_refused_by_the_contract() -> None:
    from snellen.models.contract import check_image

    backbone = load_backbone("test_vit")
    with pytest.raises(ContractError, match="pad to"):
        check_image(torch.zeros(1, 3, 100, 100), [backbone.contract])
