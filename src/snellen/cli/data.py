"""`snellen data`: make data sets, and prepare what training would otherwise compute in each epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from snellen.errors import UsageError

__all__ = ["register"]

_HELP = "Make deblurring sets: from sharp video, and from spike streams."
_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help=_HELP, epilog="Example:  snellen data synth-deblur holiday.mp4 -o data"
    )
    group.command("voxelise", epilog="Example:  snellen data voxelise data --bins 8 --sensor 250x400")(voxelise)
    group.command(
        "synth-deblur", epilog="Example:  snellen data synth-deblur holiday.mp4 -o data --window 7 --sensor 250x400"
    )(synth_deblur)
    app.add_typer(group, name="data")


def voxelise(  # noqa: PLR0913, PLR0917 - one parameter for each option
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with spike streams, at any depth.")],
    bins: Annotated[int, typer.Option(min=1, max=32, help="Time bins of a grid.")] = 32,
    sensor: Annotated[
        str | None, typer.Option(metavar="HxW", help="Size of the sensor; else found where only one fits.")
    ] = None,
    bits: Annotated[int | None, typer.Option(help="Bits of a pixel, 1 or 8; else found by what the bytes are.")] = None,
    flip: Annotated[bool, typer.Option(help="The rows are stored from the bottom up.")] = True,
    big_endian: Annotated[
        bool, typer.Option("--big-endian", help="The first pixel of a byte is its highest bit.")
    ] = False,
    columns: Annotated[int | None, typer.Option(min=1, help="Keep only so many columns, from the left.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Make the grids anew that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Sum spike streams into voxel grids beside them; a second call goes on where the first one ended."""
    from snellen.cli._output import print_json
    from snellen.data.spikes.geometry import SpikeHints
    from snellen.data.spikes.voxelising import voxelise_folder
    from snellen.report.progress import Telling
    from snellen.report.text import plural

    if bits not in (None, 1, 8):
        raise UsageError(f"--bits is {bits}, expected 1 or 8")
    hints = SpikeHints(
        size=_size(sensor, "--sensor"),
        bits=None if bits is None else 1 if bits == 1 else 8,
        flip=flip,
        bit_order="big" if big_endian else "little",
        columns=columns,
    )
    with Telling(silent=as_json) as telling:
        report = voxelise_folder(folder, bins=bins, hints=hints, again=again, tell=telling)
    if as_json:
        print_json(
            {
                "made": report.made,
                "kept": report.kept,
                "empty": [str(path) for path in report.empty],
                "skipped": [{"file": str(path), "reason": reason} for path, reason in report.skipped],
                "hints": list(report.hints),
                "notes": list(report.notes),
            }
        )
    else:
        left_out = f", {plural(len(report.skipped), 'stream')} not used" if report.skipped else ""
        typer.echo(f"{plural(report.made, 'voxel grid')} of {bins} bins made, {report.kept} made before{left_out}")
        _tell_some("no spike in", [str(path) for path in report.empty])
        _tell_skipped([(str(path), reason) for path, reason in report.skipped])
        for hint in report.hints:
            typer.echo(f"hint: {hint}", err=True)
        for note in report.notes:
            typer.echo(note, err=True)
        if report.made or report.kept:
            typer.echo(f"next: snellen check {folder}; in the run file, model.bins: {bins}")
    if report.skipped:
        raise typer.Exit(1)


def synth_deblur(  # noqa: PLR0913, PLR0917 - one parameter for each option
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="Video, folder of frames, or folder of those.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for train/ and val/.")],
    window: Annotated[int, typer.Option(min=3, help="Frames that one exposure spans, odd.")] = 5,
    stride: Annotated[int, typer.Option(min=1, help="Frames from one exposure to the next.")] = 1,
    subframes: Annotated[int, typer.Option(min=1, help="Moments interpolated between two frames.")] = 8,
    steps: Annotated[int, typer.Option(min=1, help="Spike readings between two frames.")] = 16,
    threshold: Annotated[float, typer.Option(min=1, help="Readings of white that make a pixel fire.")] = 2.0,
    noise: Annotated[float, typer.Option(min=0, max=0.99, help="Noise of a reading.")] = 0.05,
    sensor: Annotated[
        str | None, typer.Option(metavar="HxW", help="Size of the spike sensor; else that of the frames.")
    ] = None,
    val: Annotated[float, typer.Option(min=0, max=0.99, help="Share of the sequences for validation.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same files.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make blurred and sharp frames and spikes from sharp video; a second call goes on where the first one ended."""
    from snellen.cli._output import print_json
    from snellen.data.synthesis.deblurring import synthesise_deblurring
    from snellen.data.synthesis.exposure import ExposureSettings
    from snellen.report.progress import Telling
    from snellen.report.text import plural

    settings = ExposureSettings(window, stride, subframes, steps, threshold, noise, _size(sensor, "--sensor"))
    with Telling(silent=as_json) as telling:
        report = synthesise_deblurring(source, out, settings=settings, seed=seed, val_share=val, tell=telling)
    if as_json:
        print_json(
            {
                "out": str(out),
                "sequences": [
                    {"name": one.name, "split": one.split, "frames": one.frames, "kept": one.kept}
                    for one in report.sequences
                ],
                "skipped": [{"sequence": name, "reason": reason} for name, reason in report.skipped],
                "notes": list(report.notes),
            }
        )
        return
    for split in ("train", "val"):
        members = [one for one in report.sequences if one.split == split]
        before = sum(one.kept for one in members)
        made = "" if not before else ", made before" if before == len(members) else f", {before} of them made before"
        frames = plural(report.frames(split), "blurred frame")
        typer.echo(f"{split}: {frames} in {plural(len(members), 'sequence')}{made}")
    _tell_skipped(report.skipped)
    for note in report.notes:
        typer.echo(note, err=True)
    typer.echo(f"next: snellen check {out}")


def _tell_skipped(skipped: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> None:
    # A reason that begins with the file does not need it twice.
    _tell_some("not used", [reason if reason.startswith(name) else f"{name}: {reason}" for name, reason in skipped])


def _tell_some(what: str, lines: list[str]) -> None:
    for line in lines[:_SHOWN]:
        typer.echo(f"{what}: {line}", err=True)
    if len(lines) > _SHOWN:
        typer.echo(f"{what}: {len(lines) - _SHOWN} more; --json lists all", err=True)


def _size(text: str | None, option: str) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not height.isdigit() or not width.isdigit() or not int(height) or not int(width):
        raise UsageError(f"{option} is {text!r}, expected height and width such as 250x400")
    return int(height), int(width)
