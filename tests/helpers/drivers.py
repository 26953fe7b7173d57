"""A stand-in for `nvidia-smi`, which is an outside program: it prints what that of a driver prints for some GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Card", "nvidia_smi"]


@dataclass(frozen=True)
class Card:
    """A GPU: memory in MiB; `instances` of a card that is cut up; `(pid, program, MiB)` of who computes there."""

    name: str
    capability: str
    memory: int | None
    free: int | None = None
    instances: tuple[int, ...] = ()
    processes: tuple[tuple[int, str, int], ...] = ()


def nvidia_smi(
    folder: Path, *cards: Card, driver: str = "550.54.15", cuda: str = "12.4", old: bool = False, fails: str = ""
) -> None:
    """Write the program into a folder that is to come first in PATH.

    Args:
        folder: Where.
        cards: GPUs.
        driver: Version of the driver.
        cuda: The newest CUDA that it runs.
        old: A driver before 470 does not know `compute_cap`.
        fails: What it prints instead, ending with 9.
    """
    tool = folder / "nvidia-smi"
    report = "\n".join(
        [
            '<?xml version="1.0" ?>',
            '<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">',
            "<nvidia_smi_log>",
            f"\t<driver_version>{driver}</driver_version>\n\t<cuda_version>{cuda}</cuda_version>",
            f"\t<attached_gpus>{len(cards)}</attached_gpus>",
            *(_gpu(index, card) for index, card in enumerate(cards)),
            "</nvidia_smi_log>",
        ]
    )
    asked = "\n".join(["index, compute_cap", *(f"{i}, {card.capability or '[N/A]'}" for i, card in enumerate(cards))])
    unknown = "echo 'Field \"compute_cap\" is not a valid field to query.'; exit 2"
    answer = unknown if old else f"cat <<'EOF'\n{asked}\nEOF"
    body = f"case \"$1\" in\n-q) cat <<'EOF'\n{report}\nEOF\n;;\n*) {answer}\n;;\nesac\n"
    tool.write_text("#!/bin/sh\n" + (f"echo '{fails}' >&2; exit 9\n" if fails else body))
    tool.chmod(0o755)


def _gpu(index: int, card: Card) -> str:
    def mib(size: int | None) -> str:
        return "N/A" if size is None else f"{size} MiB"

    def memory(total: int | None, free: int | None) -> str:
        free = total if free is None else free
        return f"<fb_memory_usage><total>{mib(total)}</total><free>{mib(free)}</free></fb_memory_usage>"

    parts = "".join(f"<mig_device>{memory(size, size)}</mig_device>" for size in card.instances)
    users = "".join(
        f"<process_info><pid>{pid}</pid><type>C</type><process_name>{name}</process_name>"
        f"<used_memory>{used} MiB</used_memory></process_info>"
        for pid, name, used in card.processes
    )
    mode = "Enabled" if card.instances else "N/A"
    return (
        f'\t<gpu id="00000000:0{index}:00.0"><product_name>{card.name}</product_name>'
        f"<mig_mode><current_mig>{mode}</current_mig></mig_mode><mig_devices>{parts or 'None'}</mig_devices>"
        f"<uuid>GPU-{index:08x}-aaaa</uuid>{memory(card.memory, card.free)}<processes>{users}</processes></gpu>"
    )
