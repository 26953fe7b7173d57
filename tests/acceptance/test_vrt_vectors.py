"""VRT against inputs and outputs of the official implementation; cases are found by their files."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from snellen._env import shared_folder
from snellen.models.vrt import VRT, SpyNet, VrtArchitecture, load_official, official_state, published
from snellen.models.vrt.alignment import AlignmentSettings, FlowGuidedAlignment, aligned_frames, compose
from snellen.models.vrt.attention import WindowAttention, Windows, relative_position_index, shift_masks, sine_positions
from snellen.models.vrt.stage import Stage, Upsample
from snellen.models.vrt.temporal import Checkpointing, GatedFeedForward, MutualBlock, MutualGroup, ResidualGroup
from snellen.models.weights.loading import compare_state
from snellen.ops.video_tiling import VideoTiling, restore
from snellen.ops.warping import warp, warp_to_corners

VECTORS = shared_folder() / "vectors"
NOTHING_AGAIN = Checkpointing()

pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"{VECTORS} is not there: set SNELLEN_SHARED")


class Case:
    """A file of vectors."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.description: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
        self.tensors = load_file(VECTORS / f"{name}.safetensors")

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.tensors[name]
        return tensor.float() if tensor.dtype == torch.float16 else tensor

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def close(self, name: str, given: Tensor) -> None:
        tolerance = self.description["tensors"][name]["tolerance"]
        torch.testing.assert_close(
            given.detach().contiguous(),
            self[name].to(given.dtype),
            atol=tolerance["atol"],
            rtol=tolerance["rtol"],
            msg=lambda text: f"{self.name}, {name}: {text}",
        )

    def weights(self, part: str) -> dict[str, Tensor]:
        start = f"{part}.weights."
        return {name.removeprefix(start): self[name] for name in self.tensors if name.startswith(start)}


def names(pattern: str) -> list[str]:
    return sorted(path.stem for path in VECTORS.glob(pattern))


def models() -> list[str]:
    return [name.removesuffix(".weights") for name in names("vrt_*.weights.safetensors") if "spynet" not in name]


def read_weights(name: str) -> dict[str, Tensor]:
    return {key: value.float() for key, value in load_file(VECTORS / f"{name}.weights.safetensors").items()}


def network(name: str) -> VRT:
    architecture = VrtArchitecture.from_published(Case(name).description["constructor"])
    made = VRT(architecture).eval()
    spynet = read_weights("vrt_spynet") if architecture.pa_frames else None
    assert load_official(made, read_weights(name), source=name, spynet=spynet).complete
    return made


def filled(module: nn.Module, case: Case, part: str) -> nn.Module:
    """A block with the weights of a part; tables of positions that are not stored follow from the window."""
    own = {name: value for name, value in module.state_dict().items() if name.endswith("relative_position_index")}
    module.load_state_dict(own | case.weights(part))
    return module.eval()


def channels_last(video: Tensor) -> Tensor:
    return video.permute(0, 2, 3, 4, 1)


def channels_second(video: Tensor) -> Tensor:
    return video.permute(0, 4, 1, 2, 3)


@pytest.fixture(scope="module")
def modules() -> Case:
    return Case("vrt_modules")


def parts(kind: str) -> list[tuple[str, dict[str, Any]]]:
    file = VECTORS / "vrt_modules.json"
    if not file.is_file():
        return []
    described = json.loads(file.read_text(encoding="utf-8"))["cases"]
    return [(name, one["constructor"]) for name, one in described.items() if name.startswith(kind)]


@torch.no_grad()
@pytest.mark.parametrize("name", names("vrt_spynet*.json"))
def test_spynet(name: str) -> None:
    case, weights = Case(name), read_weights(name)
    spynet = SpyNet(case.description["constructor"]["return_levels"]).eval()
    spynet.load_state_dict(weights)
    stems = sorted(key.removesuffix(".ref") for key in case.tensors if key.endswith(".ref"))
    for stem in stems:
        for index, flow in enumerate(spynet(case[f"{stem}.ref"], case[f"{stem}.supp"])):
            case.close(f"{stem}.flow{index}", flow)
    if "single_level.flow" in case:
        single = SpyNet((5,)).eval()
        single.load_state_dict(weights)
        case.close("single_level.flow", single(case[f"{stems[-1]}.ref"], case[f"{stems[-1]}.supp"])[0])


def test_warping(modules: Case) -> None:
    image, flow = modules["flow_warp.x"], modules["flow_warp.flow"].permute(0, 3, 1, 2)
    for key in (key for key in modules.tensors if key.count(".") == 2 and key.startswith("flow_warp.")):
        _, mode, outside = key.split(".")
        moved = warp_to_corners(image, flow, outside=outside) if mode == "nearest4" else None  # type: ignore[arg-type]
        modules.close(key, warp(image, flow, mode=mode, outside=outside) if moved is None else moved)  # type: ignore[arg-type]


def test_tables_of_positions_and_masks(modules: Case) -> None:
    for key in modules.tensors:
        kind = key.partition(".")[0]
        numbers = [int(number) for number in re.findall(r"\d+", key)]
        if kind == "position_index":
            modules.close(key, relative_position_index((numbers[0], numbers[1], numbers[2])))
        elif kind == "position_bias":
            modules.close(key, sine_positions(numbers[1], numbers[2], numbers[3]))
        elif kind == "shift_mask":
            video, window, shift = numbers[:3], numbers[3:6], numbers[6:]
            windows = Windows.fit(tuple(video), tuple(window), tuple(shift))  # type: ignore[arg-type]
            modules.close(key, shift_masks(windows.size, windows.shift)[windows.kinds(torch.device("cpu"))])


@torch.no_grad()
@pytest.mark.parametrize(("part", "made"), parts("attn_"))
def test_attention_in_windows(modules: Case, part: str, made: dict[str, Any]) -> None:
    attention = WindowAttention(made["dim"], tuple(made["window_size"]), made["num_heads"], mutual=made["mut_attn"])
    filled(attention, modules, part)
    modules.close(f"{part}.y", attention(modules[f"{part}.x"]))
    masks = modules[f"{part}.mask"].float()
    modules.close(f"{part}.y_masked", attention(modules[f"{part}.x"], masks, torch.arange(len(masks))))
    if f"{part}.x_short" in modules:
        modules.close(f"{part}.y_short", attention(modules[f"{part}.x_short"]))


@torch.no_grad()
@pytest.mark.parametrize(("part", "made"), parts("mlp_"))
def test_gated_feed_forward(modules: Case, part: str, made: dict[str, Any]) -> None:
    layer = GatedFeedForward(made["in_features"], made["hidden_features"], made["out_features"])
    modules.close(f"{part}.y", filled(layer, modules, part)(modules[f"{part}.x"]))


@torch.no_grad()
@pytest.mark.parametrize(("part", "made"), parts("tmsa_"))
def test_blocks(modules: Case, part: str, made: dict[str, Any]) -> None:
    block = MutualBlock(
        made["dim"],
        made["num_heads"],
        tuple(made["window_size"]),
        tuple(made["shift_size"]),
        mutual=made["mut_attn"],
        checkpointing=NOTHING_AGAIN,
    )
    modules.close(f"{part}.y", filled(block, modules, part)(modules[f"{part}.x"]))


@torch.no_grad()
@pytest.mark.parametrize(("part", "made"), [*parts("tmsag"), *parts("rtmsa")])
def test_groups(modules: Case, part: str, made: dict[str, Any]) -> None:
    shape = made["dim"], made["depth"], made["num_heads"], tuple(made["window_size"])
    group: nn.Module = ResidualGroup(*shape, checkpointing=NOTHING_AGAIN)
    if "mut_attn" in made:
        group = MutualGroup(*shape, mutual=made["mut_attn"], checkpointing=NOTHING_AGAIN)
    given = filled(group, modules, part)(channels_last(modules[f"{part}.x"]))
    modules.close(f"{part}.y", channels_second(given))


@torch.no_grad()
@pytest.mark.parametrize(("part", "made"), parts("align_pa"))
def test_alignment(modules: Case, part: str, made: dict[str, Any]) -> None:
    count = made["pa_frames"] // 2
    settings = AlignmentSettings(
        neighbours=count, groups=made["deformable_groups"], largest_offset=made["max_residue_magnitude"]
    )
    align = filled(FlowGuidedAlignment(made["in_channels"], settings), modules, part)
    warped, flows = ([modules[f"{part}.{what}{index}"] for index in range(count)] for what in ("warped", "flow"))
    modules.close(f"{part}.y", align(modules[f"{part}.x"], warped, modules[f"{part}.current"], flows))


@torch.no_grad()
@pytest.mark.parametrize(("part", "made"), parts("stage_"))
def test_stages(modules: Case, part: str, made: dict[str, Any]) -> None:
    mutual = int(made["depth"] * made["mul_attn_ratio"])
    stage = Stage(
        made["in_dim"],
        made["dim"],
        depths=(mutual, made["depth"] - mutual),
        heads=made["num_heads"],
        window=tuple(made["window_size"]),
        resolution=made["reshape"],
        alignment=AlignmentSettings(
            neighbours=made["pa_frames"] // 2,
            groups=made["deformable_groups"],
            largest_offset=made["max_residue_magnitude"],
        ),
        checkpointing=NOTHING_AGAIN,
    )
    filled(stage, modules, part)
    video = channels_last(modules[f"{part}.x"])
    modules.close(f"{part}.reshaped", channels_second(stage.rescale(video)))
    given = stage(video, [modules[f"{part}.flow_backward"]], [modules[f"{part}.flow_forward"]])
    modules.close(f"{part}.y", channels_second(given))


@torch.no_grad()
@pytest.mark.parametrize(("part", "made"), parts("upsample_"))
def test_upsampling(modules: Case, part: str, made: dict[str, Any]) -> None:
    upsample = filled(Upsample(made["scale"], made["num_feat"]), modules, part)
    modules.close(f"{part}.y", channels_second(upsample(channels_last(modules[f"{part}.x"]))))


def test_composed_flows_and_aligned_frames(modules: Case) -> None:
    levels = sum(key.startswith("compose.backward1.") for key in modules.tensors)
    backward = compose([modules[f"compose.backward1.{level}"] for level in range(levels)], 3)
    reversed_flows = [modules[f"compose.forward1.{level}"].flip(1) for level in range(levels)]
    forward = [flow.flip(1) for flow in compose(reversed_flows, 3)]
    for steps in (2, 3):
        for level in range(levels):
            modules.close(f"compose.backward{steps}.{level}", backward[levels * (steps - 1) + level])
            modules.close(f"compose.forward{steps}.{level}", forward[levels * (steps - 1) + level])
    following, preceding = aligned_frames(modules["align_input.x"], backward[0], forward[0])
    modules.close("align_input.backward", following)
    modules.close("align_input.forward", preceding)


@torch.no_grad()
@pytest.mark.parametrize("name", models())
def test_whole_networks(name: str) -> None:
    case, made = Case(name), network(name)
    seen: dict[str, Tensor] = {}
    for key in (key for key in case.tensors if key.startswith("act.")):
        made.get_submodule(key.removeprefix("act.")).register_forward_hook(
            lambda module, given, result, key=key: seen.__setitem__(key, result)
        )

    flows = None
    if made.architecture.pa_frames:
        colours = case["input"][:, :, :3]
        flows = made.flows(colours)
        for index, (backward, forward) in enumerate(zip(flows.backward, flows.forward, strict=True)):
            case.close(f"flows_backward.{index}", backward)
            case.close(f"flows_forward.{index}", forward)
        following, _ = aligned_frames(colours, flows.backward[0], flows.forward[0])
        case.close("aligned_backward_stride4", following[..., ::4, ::4])
    output = made(case["input"], flows=flows)
    for key, features in seen.items():
        if key == "act.norm":
            case.close(key, features[:, :, ::8, ::8])
            continue
        step = -(-features.shape[2] // case[key].shape[3])
        case.close(key, channels_second(features)[..., ::step, ::step])
    if "output" in case:
        case.close("output", output)
    else:
        case.close("output_frame1", output[:, 1])
        case.close("output_stride2", output[..., ::2, ::2])


def positions_in_tile(clip: Tensor) -> Tensor:
    """The formula of the bookkeeping case: which tile gave which pixel."""
    rows, columns = torch.arange(2 * clip.shape[3]), torch.arange(2 * clip.shape[4])
    larger = clip[:, :, :, rows // 2][..., columns // 2]
    return larger + (rows / 64).unsqueeze(1) + columns / 32 + torch.arange(clip.shape[1]).view(-1, 1, 1, 1)


def tiling_cases() -> list[tuple[str, dict[str, Any]]]:
    found = [(name, json.loads((VECTORS / f"{name}.json").read_text("utf-8"))) for name in names("vrt_tiling*.json")]
    return [(name, one) for name, described in found for one in described["cases"]]


@torch.no_grad()
@pytest.mark.parametrize(("name", "described"), tiling_cases())
def test_tiling(name: str, described: dict[str, Any]) -> None:
    case = Case(name)
    tiling = VideoTiling(
        frames=described["tile"][0],
        side=described["tile"][1],
        frame_overlap=described["tile_overlap"][0],
        overlap=described["tile_overlap"][1],
        window=tuple(described["window_size"]),
        scale=described["scale"],
    )
    used = network(described["model"]) if described["model"].startswith("vrt_") else positions_in_tile
    case.close(f"{described['case']}.output", restore(used, case[f"{described['case']}.input"], tiling=tiling))


@pytest.mark.parametrize("name", names("vrt_keys_*.json"))
def test_official_key_names_load(name: str) -> None:
    described = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    state = {one["key"]: torch.empty(one["shape"], device="meta") for one in described["state_dict"]}
    architecture = VrtArchitecture.from_published(described["constructor"])
    with torch.device("meta"):
        made = VRT(architecture)

    report = compare_state(made, official_state(made, state))

    assert (report.missing, report.unexpected, report.mismatched) == ((), (), ())
    assert sum(parameter.numel() for parameter in made.parameters()) == described["parameters"]
    assert architecture == published(name.removeprefix("vrt_keys_"))


def test_the_folder_holds_all_kinds_of_case() -> None:
    kinds = ("attn_", "mlp_", "tmsa_", "tmsag", "rtmsa", "align_pa", "stage_", "upsample_")
    assert all(parts(kind) for kind in kinds)
    assert models()
    assert tiling_cases()
    assert names("vrt_keys_*.json")
