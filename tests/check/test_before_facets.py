"""Each planted mistake is found before the run, a sound run is left alone, and what can be mended is mended."""

from __future__ import annotations

import json
import struct
import subprocess
import zipfile

import pytest
from PIL import Image

from snellen.check import CheckSettings, check, plan_of
from snellen.check.fix import mend
from snellen.config.load import load
from snellen.core.facts.memory import UnfoldFacts
from snellen.core.facts.weights import FitFacts
from snellen.core.finding import Edit, Finding, Fix, FixSafety, Level, State
from snellen.tasks.forgery.config import ForgeryRun

CONTRACTS = (
    {"part": "backbone", "side_multiple": 14, "layout": "NCHW"},
    {"part": "decoder", "side_multiple": 32, "layout": "NCHW"},
)
FACTS = {
    "contracts": lambda plan: CONTRACTS,
    "unfold": lambda plan: UnfoldFacts(8, 384, 100, 100, 4, "the run's sizes"),
    "weights_fit": lambda plan: (),
    "source_findings": lambda plan: (),
}
SOUND = "task: forgery\ndata: {train: data/train, val: data/val}\nmodel: {detector: net}\n"


@pytest.fixture
def project(tmp_path, photo):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for split, name in (("train", "coffee"), ("val", "china")):
        (tmp_path / "data" / split).mkdir(parents=True)
        Image.fromarray(photo(name)[100:220, 200:360]).save(tmp_path / "data" / split / "a.png")
    (tmp_path / "run.yaml").write_text(SOUND)
    return tmp_path


def look(project, *, facts=None, text=None, select=()):
    if text is not None:
        (project / "run.yaml").write_text(text)
    loaded = load(project / "run.yaml", ForgeryRun)
    plan = plan_of(loaded, ForgeryRun, facts={**FACTS, **(facts or {})})
    return check(plan, settings=CheckSettings(select=select))


def found(report):
    return {(finding.slug, finding.location.key if finding.location else None) for finding in report.findings}


def test_a_sound_run_has_no_findings_and_no_crashes(project):
    report = look(project)
    assert report.findings == ()
    assert report.counts["crashed"] == 0
    assert report.exit_code == 0
    by_slug = {result.slug: result for result in report.results}
    for slug in ("config-type", "split-case", "empty-dataset", "corrupt-image", "padding-not-lcm", "stale-module"):
        assert by_slug[slug].state is State.PASSED, by_slug[slug]
    assert by_slug["missing-checkpoint"].state is State.NOT_APPLICABLE


def test_settings_of_the_wrong_type_and_unknown_keys(project):
    report = look(project, text=SOUND + "optim: {lr: '1e-4', epoch: 3}\n")
    assert found(report) == {("config-type", "optim.lr"), ("config-unknown-key", "optim.epoch")}
    outcome = mend(report.findings, run_file=project / "run.yaml")
    assert len(outcome.applied) == 2
    assert load(project / "run.yaml", ForgeryRun).require().optim.epochs == 3


def test_a_split_in_another_case_is_spelled_as_on_disk(project):
    (project / "data").rename(project / "Data")
    report = look(project)
    assert found(report) == {("split-case", "data.train"), ("split-case", "data.val")}
    mend(report.findings, run_file=project / "run.yaml")
    assert "Data/train" in (project / "run.yaml").read_text()
    assert look(project).findings == ()


def test_a_missing_folder_names_what_stands_beside_it(project):
    report = look(project, text=SOUND.replace("data/train", "data/trian"))
    (finding,) = report.findings
    assert finding.slug == "missing-file"
    assert "train, val" in finding.message
    assert finding.fix.safety is FixSafety.UNSAFE
    assert finding.fix.settings == (("data.train", "data/train"),)
    assert mend(report.findings, run_file=project / "run.yaml").applied == ()
    assert mend(report.findings, run_file=project / "run.yaml", unsafe=True).files


def test_an_empty_folder_says_what_it_holds(project):
    (project / "data" / "val" / "a.png").rename(project / "data" / "val" / "a.txt")
    (finding,) = look(project).findings
    assert (finding.slug, finding.location.key, finding.location.line) == ("empty-dataset", "data.val", 2)
    assert "1 .txt" in finding.message


def test_images_that_cannot_be_decoded_are_named(project):
    whole = (project / "data" / "train" / "a.png").read_bytes()
    (project / "data" / "train" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (project / "data" / "train" / "empty.jpg").touch()
    (finding,) = look(project).findings
    assert (finding.slug, len(finding.evidence)) == ("corrupt-image", 2)
    assert "2 of 3 (67%) images" in finding.message


@pytest.mark.parametrize(("multiple", "fails"), [(32, True), (14, True), (224, False), (448, False), ("auto", False)])
def test_padding_must_fit_every_contract(project, multiple, fails):
    report = look(project, text=SOUND.replace("val: data/val", f"val: data/val, pad_multiple: {multiple}"))
    assert bool(report.findings) is fails
    if fails:
        assert "14" in report.findings[0].message
        assert report.findings[0].fix.settings == (("data.pad_multiple", 224),)


def test_layouts_of_neighbouring_parts_must_agree(project):
    parts = (CONTRACTS[0] | {"layout": "NHWC"}, CONTRACTS[1])
    report = look(project, facts={"contracts": lambda plan: parts})
    assert found(report) == {("layout-scrambled", None)}


@pytest.mark.parametrize(
    ("precision", "machine", "slug"),
    [
        ("fp16", "kaggle-t4", "half-overflow"),
        ("auto", "kaggle-t4", "half-overflow"),
        ("auto", "h200", "fill-out-of-range"),
        ("bf16", "h200", None),
        ("fp32", "kaggle-t4", None),
    ],
)
def test_a_fill_value_must_fit_the_precision(project, precision, machine, slug):
    text = f"task: forgery\nprecision: {precision}\nmachine: {machine}\nmodel: {{mask_value: -1e9}}\n"
    report = look(project, text=text, select=["precision"])
    assert {finding.slug for finding in report.findings} == ({slug} if slug else set())
    if slug:
        assert report.findings[0].fix.settings == (("model.mask_value", -65504.0),)


def test_an_unfold_is_counted_at_the_runs_sizes(project):
    source = project / "corr.py"
    source.write_text("x = 1\npatches = F.unfold(feats, kernel_size=12, stride=1)\n")
    (project / "run.yaml").write_text(SOUND + "code: [corr.py]\nmachine: kaggle-t4\n")
    report = look(project, facts={"source_findings": lambda plan: (unfold_at(source, 2),)})
    counted = next(finding for finding in report.findings if "GiB" in finding.message)
    # 8 x 384 channels x 144 x 89 x 89 positions x 4 bytes
    assert f"{8 * 384 * 144 * 89 * 89 * 4 / 2**30:.2f} GiB" in counted.message
    assert counted.level is Level.ERROR


def unfold_at(path, line):
    from snellen.core.finding import Location

    return Finding("unfold-blowup", Level.WARNING, "unfold", Location(str(path), line, 1))


def test_a_clone_inside_the_checkout(project):
    for marker in ("README.md", "run.yaml", "train.py"):
        (project / marker).touch()
    inner = project / project.name
    inner.mkdir()
    subprocess.run(["git", "init", "-q", inner], check=True)
    for marker in ("README.md", "run.yaml", "train.py"):
        (inner / marker).touch()
    (finding,) = look(project).findings
    assert (finding.slug, finding.level) == ("wrong-project-root", Level.WARNING)
    (inner / "run.yaml").write_text("task: forgery\n")
    (finding,) = look(inner).findings
    assert finding.level is Level.ERROR


def safetensors(path, *, cut=0):
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    content = struct.pack("<Q", len(header)) + header + bytes(16)
    path.write_bytes(content[: len(content) - cut])


def torch_zip(path, *, damage=False):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02}.")
        archive.writestr("w/data/0", b"abcdefgh" * 20)
    if damage:
        path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"abcdefgX", 1))


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("w.safetensors", safetensors, None),
        ("w.pth", torch_zip, None),
        ("w.safetensors", lambda path: safetensors(path, cut=3), "cut off"),
        ("w.safetensors", lambda path: path.write_bytes(b"\xff" * 40), "not a safetensors"),
        ("w.safetensors", lambda path: path.write_bytes(struct.pack("<Q", 4) + b"nope" + bytes(9)), "header is broken"),
        ("w.pth", lambda path: torch_zip(path, damage=True), "checksum"),
        ("w.pth", lambda path: path.write_bytes(b"PK\x03\x04rest"), "cut off or damaged"),
        ("w.pth", lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n."), "imports os.system"),
        ("w.pth", lambda path: path.write_bytes(b"\x80\x04N."), "bare pickle"),
        ("w.pth", lambda path: path.write_bytes(b"<!DOCTYPE html><html>"), "web page"),
        ("w.pth", lambda path: path.write_bytes(b"version https://git-lfs"), "git lfs pull"),
        ("w.pth", lambda path: path.touch(), "empty"),
        ("w.pth", lambda path: path.mkdir(), "a folder"),
        ("w.pth", lambda path: (path.parent / "other.pth").touch(), "in that folder: other.pth"),
    ],
)
def test_a_checkpoint_is_looked_into_without_loading_it(project, name, make, words):
    make(project / name)
    text = SOUND.replace("{detector: net}", f"{{detector: net, weights: {name}}}")
    report = look(project, text=text, select=("weights",))
    slug = "corrupt-checkpoint" if (project / name).exists() else "missing-checkpoint"
    slug = {"imports os.system": "unsafe-load", "bare pickle": "weights-only-load"}.get(words, slug)
    assert [finding.slug for finding in report.findings] == ([slug] if words else [])
    if words:
        assert words in report.findings[0].message


def test_parts_that_stay_random_are_named(project):
    fits = (
        FitFacts("backbone", "model.weights", "w.pth", 3, 5, ("head.w", "head.b")),
        FitFacts("encoder", "model.weights", "", 0, 1, frozen=True),
        FitFacts("decoder", "model.weights", "", 0, 1),
        FitFacts("neck", "model.weights", "w.pth", 5, 5),
    )
    report = look(project, facts={"weights_fit": lambda plan: fits}, select=("weights",))
    assert [(finding.level, finding.message.split()[0]) for finding in report.findings] == [
        (Level.ERROR, "w.pth"),
        (Level.ERROR, "encoder"),
        (Level.WARNING, "decoder"),
    ]


def test_without_the_tasks_facts_the_other_checks_still_judge(project):
    loaded = load(project / "run.yaml", ForgeryRun)
    report = check(plan_of(loaded, ForgeryRun))
    by_slug = {result.slug: result for result in report.results}
    assert by_slug["padding-not-lcm"].state is State.NOT_APPLICABLE
    assert "contracts" in by_slug["padding-not-lcm"].reason
    assert by_slug["empty-dataset"].state is State.PASSED


def test_edits_of_one_file_are_applied_together_or_told_apart(tmp_path):
    path = tmp_path / "m.py"
    path.write_text("a = 1\nb = 2\n")

    def at(line, start, end, text, safety=FixSafety.SAFE):
        fix = Fix("f", safety, edits=(Edit(str(path), line, start, line, end, text),))
        return Finding("x", Level.ERROR, text, fix=fix)

    findings = [
        at(2, 4, 5, "3\nc = 4"),
        at(1, 4, 5, "9"),
        at(1, 4, 5, "8"),
        at(1, 0, 1, "z", FixSafety.UNSAFE),
        Finding("x", Level.ERROR, "no fix"),
    ]
    outcome = mend(findings, run_file=None)
    assert path.read_text() == "a = 9\nb = 3\nc = 4\n"
    assert len(outcome.applied) == 2
    assert [why.split(":")[0] for _, why in outcome.left] == [
        "the fix is not surely right (read it first)",
        "no fix can be computed for it",
        "it changes the same place as another fix; check again",
    ]
