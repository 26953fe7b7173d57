"""VRT in one graph: in training, with checkpointing, stochastic depth and spikes.

The default test goes as far as the graph; the slow one and `benchmarks/vrt_compile.py` also derive its backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
import torch
from torch import Tensor
from tqdm import tqdm

from snellen.models.vrt import VRT, Checkpointing, SpikeBranch, SpikeContract
from tiny_vrt import tiny_vrt

SHALLOW = {
    "depths": (4, 1, 1, 1, 1, 1, 1, 1),
    "embed_dims": (8,) * 8,
    "num_heads": (2,) * 8,
    "indep_reconsts": (),
}


@pytest.fixture(autouse=True)
def _strict_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A second compilation is an error; nothing is left for other tests, not the thread of a progress bar either."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch._dynamo.config.patch(error_on_recompile=True):
        yield
    torch._dynamo.reset()


def build() -> VRT:
    torch.manual_seed(0)
    branch = SpikeBranch(8, contract=SpikeContract(bins=4, scale=Fraction(2)), heads=2, checkpointing=True)
    again = Checkpointing(attention=True, feed_forward=True)
    network = tiny_vrt(changes=SHALLOW, drop_path=0.2, checkpointing=again, spikes=branch).train()
    network.spynet.requires_grad_(requires_grad=False)
    return network


def losses(network: VRT, run: Callable[..., Tensor], steps: int) -> list[float]:
    optimiser = torch.optim.SGD([one for one in network.parameters() if one.requires_grad], lr=1e-2)
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(2)
    found = []
    for _ in range(steps):
        clip = torch.rand(1, 2, 3, 32, 32, generator=generator)
        voxels = torch.rand(1, 2, 4, 16, 16, generator=generator)
        loss = (run(clip, voxels) - clip.flip(1)).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
        found.append(loss.item())
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("backend", "steps"), [("eager", 3), pytest.param("aot_eager", 20, marks=pytest.mark.slow)])
def test_training_is_one_graph_that_is_compiled_once(backend: str, steps: int) -> None:
    network = build()
    eager = losses(network, network, steps)
    network = build()
    compiled = losses(network, torch.compile(network, backend=backend, fullgraph=True), steps)
    assert compiled == pytest.approx(eager, abs=1e-4)
    assert len(set(eager)) == steps
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]
