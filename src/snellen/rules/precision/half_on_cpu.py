"""A CPU is asked for an operation that it does not have in half precision.

What happens
------------
The first forward pass stops with `RuntimeError: "slow_conv2d_cpu" not implemented for 'Half'`. The word in quotes is
the kernel: `addmm_impl_cpu_` is a linear layer or a matrix product, `LayerNormKernelImpl` a layer norm, `nms_kernel`
torchvision's suppression of boxes. Old versions wrote `_thnn_conv2d_forward is not implemented for type
torch.HalfTensor`.

Why
---
The model or its input is float16 and stands on the CPU. float16 is made for GPUs; on CPUs PyTorch had hardly any
kernels for it before 2.2, and today still lacks some (`nms`, decompositions, distances). The code took for granted
that there is a GPU: a demo started on a laptop, a CPU wheel of PyTorch, a driver that does not answer, or one part of
the model that was left behind on the CPU.

How to confirm
--------------
`print(next(model.parameters()).device, next(model.parameters()).dtype)` says `cpu torch.float16`, and
`torch.cuda.is_available()` tells whether it had a choice. `snellen explain --probe` tries the operation on this
machine.

Fix
---
On a CPU compute in float32: `model.float()`, `torch_dtype=torch.float32`, or the program's own switch (`--no-half`,
`half=False`, `fp16: false`). If a GPU was meant, move model and input there first. Write it once:
`dtype = torch.float16 if device == "cuda" else torch.float32`. bfloat16 works on most CPUs, slowly.

When it is something else
-------------------------
A kernel with `cuda` in its name is a GPU operation that lacks float16, and `'Long'`, `'Bool'`, `'Byte'` instead of
`'Half'` mean integers where numbers are needed: both are `dtype-mismatch`. If a GPU is there and PyTorch does not see
it, begin with `cpu-only-torch` or `cuda-driver-too-old`.

Sources
-------
- float16 and bfloat16 on CPUs, what autocast runs in which: https://docs.pytorch.org/docs/stable/amp.html
- "LayerNormKernelImpl" not implemented for 'Half': https://github.com/pytorch/pytorch/issues/52291
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.messages import find_message
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]

_LACKS = re.compile(r"[\"'](?P<kernel>[\w/<>:., ()]{1,80})[\"'] not implemented for '(?:c10::)?Half'")
_OLD = re.compile(
    r"\b(?P<kernel>\w{2,60})(?: is)? not (?:implemented|supported) (?:for type torch\.HalfTensor|on CPUType for Half)"
    r"|(?P<path>mkldnn\w*)[^:]{0,40}: fp16 path needs the cpu support"
)
_ON_GPU = re.compile(
    r"cuda|gpu|cusolver|cublas|host_softmax|ms_deform|^ROI(?:Align|Pool)|_forward_kernel$", re.IGNORECASE
)
_ON_CPU = re.compile(r"cpu|impl|vml|lastdim|unfolded2d|mkldnn", re.IGNORECASE)
_CPU_KERNELS = frozenset(
    (
        *("nms_kernel", "cdist", "pdist", "batch_norm", "baddbmm_with_gemm", "upsample_nearest2d", "bmm", "dot", "mv"),
        *("upsample_bilinear2d", "upsample_bicubic2d", "upsample_nearest2d_channels_last", "max_pool2d", "avg_pool2d"),
        *("upsample_bilinear2d_channels_last", "compute_indices_weights_linear", "compute_indices_weights_nearest"),
        *("compute_indices_weights_cubic", "adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d_channels_last"),
        *("threshold_cpu", "glu", "grid_sampler_2d", "fold", "im2col", "col2im", "reflection_pad2d", "group_norm"),
        *("replication_pad2d", "index_select", "embedding_renorm", "nll_loss_out_frame", "binary_cross_entropy"),
        *("triu", "tril", "deformable_im2col", "roi_align", "roi_pool", "conv_depthwise3d", "slow_conv_transpose2d"),
    )
)
_OPERATIONS = (
    (re.compile(r"conv|im2col|unfolded", re.IGNORECASE), "a convolution"),
    (re.compile(r"addmm|baddbmm|bmm|gemm|_mm\b|dot|\bmv\b|addmv", re.IGNORECASE), "a linear layer or matrix product"),
    (re.compile(r"layer_?norm", re.IGNORECASE), "a layer norm"),
    (re.compile(r"batch_?norm|group_?norm", re.IGNORECASE), "a normalisation"),
    (re.compile(r"softmax", re.IGNORECASE), "a softmax"),
    (re.compile(r"upsample|compute_indices", re.IGNORECASE), "an interpolation"),
    (re.compile(r"nms", re.IGNORECASE), "non-maximum suppression"),
    (re.compile(r"pool", re.IGNORECASE), "a pooling"),
    (re.compile(r"gelu|silu|sigmoid|relu|threshold|clamp_min|hardswish|hardtanh", re.IGNORECASE), "an activation"),
)
_WHY_CPU = (
    r"cuda is not available|cuda (?:is )?(?:not|un)available|no (?:cuda|nvidia) (?:gpu|driver)|not compiled with cuda"
    r"|(?:using|use|running on|device)\b.{0,12}\bcpu\b|cuda[:=] ?false|torch[-=: ]+v?\d[\w.]*\+cpu|device_map=.?cpu"
)
_SWITCH = (
    r"--(?:no-half|half|fp16|use_fp16|precision)\b|half ?= ?True|(?:use_)?fp16[:=] ?True|torch_dtype=torch\.float16"
)


def _examine(log: Log) -> LogMatch | None:
    said = find_message(log, _LACKS) or find_message(log, _OLD)
    if said is None:
        return None
    kernel = next(part for part in said.match.groups() if part)
    score = _score(kernel, log)
    if score is None:
        return None
    why = log.search(_WHY_CPU)
    operation = next((name for pattern, name in _OPERATIONS if pattern.search(kernel)), "an operation")
    because = f" The log says why it is on the CPU: `{why.text.strip()[:120]}`." if why else ""
    cause = f"`{kernel}` is {operation}, which this PyTorch does not compute in float16 on a CPU{said.place}.{because}"
    evidence = (*said.facts, *((why.evidence,) if why else ()))
    return LogMatch(score if said.first else min(score, 0.75), evidence, cause, _fix(kernel, log))


def _score(kernel: str, log: Log) -> float | None:
    """How sure it is that the kernel is one of the CPU; `None` when it is not."""
    if _ON_GPU.search(kernel):
        return None
    if _ON_CPU.search(kernel) or kernel in _CPU_KERNELS or kernel.startswith("_th"):
        return 0.97
    return 0.6 if log.search(r"device='cuda|cuda:\d|\.cuda\(\)") else 0.8


def _fix(kernel: str, log: Log) -> Fix:
    switch = log.search(_SWITCH)
    found = re.search(_SWITCH, switch.text) if switch else None
    turn_off = f"; the log shows `{found[0]}`, which is what to change" if found else ""
    if "nms" in kernel.lower():
        return Fix(f"Give the boxes and scores as float32: `nms(boxes.float(), scores.float(), threshold)`{turn_off}.")
    return Fix(
        "Run in float32 on the CPU (`model.float()` and a float input, or `torch_dtype=torch.float32`), or move model "
        f"and input to the GPU before the call{turn_off}."
    )


_TRY = """
import torch
import torch.nn.functional as F
half = torch.float16
tests = {
    "conv": lambda: F.conv2d(torch.zeros(1, 3, 8, 8, dtype=half), torch.zeros(4, 3, 3, 3, dtype=half)),
    "addmm": lambda: F.linear(torch.zeros(2, 4, dtype=half), torch.zeros(4, 4, dtype=half), torch.zeros(4, dtype=half)),
    "norm": lambda: F.layer_norm(torch.zeros(2, 4, dtype=half), (4,)),
    "softmax": lambda: torch.zeros(2, 4, dtype=half).softmax(-1),
    "upsample": lambda: F.interpolate(torch.zeros(1, 3, 8, 8, dtype=half), scale_factor=2, mode="bilinear"),
}
tests["gemm"] = tests["bmm"] = tests["addmm"]
tests["im2col"] = tests["unfolded"] = tests["conv"]
kernel = KERNEL
chosen = next((test for name, test in tests.items() if name in kernel), None)
works = "unknown"
if chosen is not None:
    try:
        chosen()
        works = "works"
    except RuntimeError as error:
        works = "lacks"
print("SNELLEN", torch.__version__, torch.cuda.is_available(), works)
"""


def _probe(log: Log, here: Here) -> Answer:
    said = find_message(log, _LACKS) or find_message(log, _OLD)
    kernel = next((part for part in said.match.groups() if part), "") if said else ""
    word = re.sub(r"\W", "", kernel).lower()
    ran = here.python(_TRY.replace("KERNEL", repr(word)), 120)
    found = re.search(r"SNELLEN (?P<version>\S+) (?P<cuda>True|False) (?P<works>\w+)", ran.output)
    if found is None:
        return Answer(Outcome.CANNOT_TELL, "torch cannot be asked here: it is not installed or does not start")
    place = f"torch {found['version']}, CUDA {'available' if found['cuda'] == 'True' else 'not available'}"
    if found["works"] == "lacks":
        return Answer(Outcome.CONFIRMED, f"{place}: the CPU lacks `{kernel}` in float16")
    if found["works"] == "works":
        return Answer(Outcome.REFUTED, f"{place}: this version computes `{kernel}` in float16 on the CPU")
    if found["cuda"] == "True":
        return Answer(Outcome.CANNOT_TELL, f"{place}: whether the model stood on the CPU shows only the run itself")
    return Answer(Outcome.CONFIRMED, f"{place}: everything here runs on the CPU")


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    precision, machine = plan.fact("precision"), plan.fact("machine")
    if precision != "fp16":
        raise NotApplicable(f"the run computes in {precision}")
    if machine.accelerator != "cpu":
        raise NotApplicable(f"the run computes on {machine.accelerator}")
    yield Finding(
        "half-on-cpu",
        Level.WARNING,
        f"precision is fp16 and {machine.name} computes on the CPU, which is slower in float16 and lacks some "
        "operations in it",
        setting_place(plan, "precision"),
        (Evidence(f"{machine.name}: no accelerator"),),
        Fix(
            "Write precision: auto; it is fp32 on a CPU and half precision on a GPU.",
            FixSafety.UNSAFE,
            "results differ in the last digits",
            settings=(("precision", "auto"),),
        ),
    )


RULE = Rule(
    slug="half-on-cpu",
    family="precision",
    title="The CPU lacks an operation in float16",
    level=Level.ERROR,
    log=LogFacet(("'half'", "'c10::half'", "halftensor", "for half", "fp16 path needs"), _examine, _probe),
    source=absent("which operations a CPU has in float16 depends on the installed torch"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("the exception comes before the step ends"),
    module=__name__,
)
