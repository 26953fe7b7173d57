"""Training steps of VRT, compiled against eager: number of graphs, losses, time.

    python benchmarks/vrt_compile.py                            small network on this machine, inductor
    python benchmarks/vrt_compile.py --backend aot_eager        graphs and losses only, no C++ compiler needed
    python benchmarks/vrt_compile.py --train-flows --truth      the flow network is trained; float64 as a third
    python benchmarks/vrt_compile.py --published 006 --size 6 3 192 192     a full-size network, on a GPU
    python benchmarks/vrt_compile.py --json out.json

Checkpointing, stochastic depth and the spike branch (`--spikes`) are on. `fullgraph=True` makes a graph break an error
and `error_on_recompile` a second compilation. Both run the same steps from the same weights; random numbers are those
of eager in both (`fallback_random`), so that the same branches are left out. Where losses differ, `--truth` tells whose
rounding it is: the same steps in float64, and how far eager and compiled are from them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
import torch._inductor.config
from torch import Tensor
from torch._dynamo.utils import counters

from snellen.models.vrt import VRT, Checkpointing, SpikeBranch, SpikeContract, VrtArchitecture, published

BINS, SCALE = 4, 2
LOSS_BAR = 1e-4
SMALL = VrtArchitecture(
    window_size=(2, 4, 4),
    depths=(4, 1, 1, 1, 1, 1, 1, 2),
    embed_dims=(8,) * 8,
    num_heads=(2,) * 8,
    indep_reconsts=(),
    mul_attn_ratio=0.5,
    deformable_groups=2,
)


def build(architecture: VrtArchitecture, device: str, *, spikes: bool, train_flows: bool) -> VRT:
    """The network in training, with all that was hard to compile."""
    torch.manual_seed(0)
    branch = None
    if spikes:
        contract = SpikeContract(bins=BINS, scale=Fraction(SCALE))
        branch = SpikeBranch(architecture.embed_dims[0], contract=contract, heads=2, checkpointing=True)
    again = Checkpointing(attention=True, feed_forward=True, flow=train_flows)
    network = VRT(architecture, drop_path=0.2, checkpointing=again, spikes=branch).to(device).train()
    if train_flows:
        # As in a run without published flow weights, which starts at no motion.
        for level in network.spynet.basic_module:
            for parameter in list(level.parameters())[-2:]:
                torch.nn.init.zeros_(parameter)
    network.spynet.requires_grad_(requires_grad=train_flows)
    return network


def steps(network: VRT, run: Callable[..., Tensor], count: int, size: list[int]) -> tuple[list[float], list[float]]:
    """Losses and seconds of some steps."""
    device, dtype = network.conv_first.weight.device, network.conv_first.weight.dtype
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-4, foreach=False)
    generator = torch.Generator().manual_seed(1)
    frames, _, height, width = size
    torch.manual_seed(2)
    losses, seconds = [], []
    for _ in range(count):
        clip, sharp = (torch.rand(1, *size, generator=generator).to(device, dtype) for _ in range(2))
        given = [clip]
        if network.spikes is not None:
            voxels = torch.rand(1, frames, BINS, height // SCALE, width // SCALE, generator=generator)
            given.append(voxels.to(device, dtype))
        start = time.perf_counter()
        loss = ((run(*given) - sharp).square() + 1e-6).sqrt().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(loss.item())
        optimiser.step()
        optimiser.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        print(f"  {len(losses)}: loss {losses[-1]:.6f}, {seconds[-1]:.2f} s", file=sys.stderr, flush=True)
    return losses, seconds


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Run both and put them side by side."""
    architecture = published(options.published) if options.published else SMALL
    made = partial(build, architecture, options.device, spikes=options.spikes, train_flows=options.train_flows)
    print("eager", file=sys.stderr)
    network = made()
    eager, eager_seconds = steps(network, network, options.steps, options.size)
    truth = None
    if options.truth:
        print("float64", file=sys.stderr)
        network = made().double()
        truth, _ = steps(network, network, options.steps, options.size)

    torch._inductor.config.fallback_random = True
    torch._dynamo.config.error_on_recompile = True
    counters.clear()
    print(options.backend, file=sys.stderr)
    network = made()
    compiled_network = torch.compile(network, backend=options.backend, fullgraph=True)
    compiled, compiled_seconds = steps(network, compiled_network, options.steps, options.size)

    median, median_compiled = statistics.median(eager_seconds[1:]), statistics.median(compiled_seconds[1:])
    return {
        "backend": options.backend,
        "device": options.device,
        "size": options.size,
        "blocks": sum(architecture.depths),
        "spikes": options.spikes,
        "flows_trained": options.train_flows,
        "steps": options.steps,
        "graphs": counters["stats"]["unique_graphs"],
        "graph_breaks": sum(counters["graph_break"].values()),
        "operators": counters["stats"]["calls_captured"],
        "largest_difference_of_loss": farthest(eager, compiled),
        **(
            {}
            if truth is None
            else {"eager_from_float64": farthest(eager, truth), "compiled_from_float64": farthest(compiled, truth)}
        ),
        "losses": {"eager": eager, "compiled": compiled, "float64": truth},
        "first_step_seconds": compiled_seconds[0],
        "eager_seconds": median,
        "compiled_seconds": median_compiled,
        "eager_over_compiled": median / median_compiled,
    }


def farthest(losses: list[float], others: list[float]) -> float:
    """The largest difference of the losses of one step."""
    return max(abs(one - other) for one, other in zip(losses, others, strict=True))


def main() -> None:
    """Print what was found; exit code 1 when it is not one graph or the losses differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["inductor", "aot_eager"], default="inductor")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--published", metavar="NUMBER", help="a published architecture instead of the small one")
    parser.add_argument("--size", nargs=4, type=int, default=[3, 3, 32, 48], metavar=("D", "C", "H", "W"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--spikes", action="store_true")
    parser.add_argument("--train-flows", action="store_true", help="train the flow network, from no motion")
    parser.add_argument("--truth", action="store_true", help="run the same steps in float64")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.backend == "inductor" and options.device == "cpu" and not shutil.which("g++"):
        print("no g++: inductor cannot compile for this CPU; aot_eager shows graphs and losses, not time")
        options.backend = "aot_eager"
    torch.set_num_threads(1)
    found = compare(options)
    for name, value in found.items():
        if name == "losses":
            continue
        print(f"{name:<28} {value:.3g}" if isinstance(value, float) else f"{name:<28} {value}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2), encoding="utf-8")
    one = found["graphs"] == 1 and not found["graph_breaks"]
    sys.exit(0 if one and found["largest_difference_of_loss"] <= LOSS_BAR else 1)


if __name__ == "__main__":
    main()
