"""Where a value comes from: through names, items, loaders and functions of a project."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

import source_facts
from snellen.core.code.expressions import parsed, place_of, text_of
from snellen.core.code.flow import Flow, Trail
from snellen.core.code.trails import targets_of
from snellen.core.known.backbones import kind_of_name
from snellen.core.source import CallSite, SourceFile, Span

HEAD = "import cv2\nimport numpy as np\nimport torch\nfrom torch.utils.data import DataLoader\n"


facts = functools.partial(source_facts.facts, head=HEAD)


def read(call: CallSite) -> bool:
    return call.name == "cv2.imread"


def ways(file: SourceFile) -> list[Trail]:
    """How the argument of `use` came from `cv2.imread`."""
    (call,) = [call for call in file.calls if call.name == "use"]
    return [t for t in Flow(file).trails(call.arguments[0], call, read) if t.start.name == "cv2.imread"]


def done(file: SourceFile) -> list[list[str]]:
    return [[step.name for step in trail.changes] for trail in ways(file)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("image = cv2.imread('a')\nimage = cv2.resize(image, (2, 2))\nuse(image)", ["cv2.resize"]),
        ("use(cv2.imread('a')[:, :, ::-1].copy())", ["[]", ".copy"]),
        ("image = cv2.imread('a').astype('f')\nimage /= 255.0\nuse(image)", [".astype", "/="]),
        ("def load(p):\n    return cv2.imread(p)\nuse(load('a') / 255)", ["/"]),
        ("class A:\n def load(self):\n  return cv2.imread('a')\n def run(self):\n  use(self.load())", []),
        ("class A:\n def __init__(self):\n  self.x = cv2.imread('a')\n def run(self):\n  use(self.x)", []),
        ("def f(image):\n    use(image)\nf(cv2.imread('a'))", []),
        ("images = []\nfor p in paths:\n    images.append(cv2.imread(p))\nuse(np.stack(images))", ["numpy.stack"]),
        ("images = [cv2.imread(p) for p in paths]\nfor n, image in enumerate(images):\n    use(image)", []),
        ("batch = np.zeros(3)\nbatch[0] = cv2.imread('a')\nuse(batch)", []),
        ("for image, mask in zip([cv2.imread('a')], masks):\n    use(image)", []),
        ("sample = {'image': cv2.imread('a'), 'mask': 1}\nuse(sample['image'])", ["[]"]),
        ("use(cv2.imread('a') if x else None)", []),
    ],
)  # fmt: skip
def test_ways_of_a_value(source: str, expected: list[str], tmp_path: Path) -> None:
    assert expected in done(facts(tmp_path, source))


@pytest.mark.parametrize(
    "source",
    [
        "for image, mask in zip(masks, [cv2.imread('a')]):\n    use(image)",
        "sample = {'image': 1, 'mask': cv2.imread('a')}\nuse(sample['image'])",
        "image = cv2.imread('a')\nimage = other()\nuse(image)",
        "use(image)\nimage = cv2.imread('a')",
        "def f():\n    image = cv2.imread('a')\ndef g(image):\n    use(image)",
        "image = cv2.imread('a')\nuse(cv2.resize(other, image.shape))",
    ],
)
def test_other_values_are_told_apart(source: str, tmp_path: Path) -> None:
    assert done(facts(tmp_path, source)) == []


def test_an_assignment_under_a_condition_leaves_the_one_before_possible(tmp_path: Path) -> None:
    source = "image = cv2.imread('a')\nif swap:\n    image = cv2.cvtColor(image, 4)\nuse(image)"
    assert sorted(done(facts(tmp_path, source))) == [[], ["cv2.cvtColor"]]
    source = "if swap:\n    image = cv2.imread('a')\nelse:\n    image = other()\n    use(image)"
    assert done(facts(tmp_path, source)) == []


def test_from_a_loader_into_the_data_set_of_another_file(tmp_path: Path) -> None:
    data = """
        import cv2
        class Pictures:
            def __getitem__(self, index):
                image = cv2.imread(self.paths[index])
                return {"image": image, "mask": mask}
    """
    source = """
        from data import Pictures
        loader = DataLoader(Pictures(), batch_size=2)
        for batch in loader:
            use(batch["image"].float())
    """
    (trail,) = ways(facts(tmp_path, source, data=data))
    assert [step.name for step in trail.changes] == ["[]", ".float"]
    assert trail.start.path.endswith("data.py")


def test_the_arguments_of_the_very_call_count(tmp_path: Path) -> None:
    source = """
        def same(x):
            return x
        first, second = same(cv2.imread('a')), same(other())
        use(second)
    """
    assert done(facts(tmp_path, source)) == []


def test_what_an_operator_was_given(tmp_path: Path) -> None:
    source = "SCALE = 255.0\nimage = cv2.imread('a')\nuse(image / SCALE)"
    (trail,) = ways(facts(tmp_path, source))
    assert (trail.steps[0].name, trail.steps[0].value) == ("/", 255.0)


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    return g(x)\ndef g(x):\n    return f(x)\nuse(f(1))",
        "x = x\nfor x in x:\n    x = [x for x in x]\nuse(x)",
        "x = 1\n" + "x = x + x\n" * 200 + "use(x)",
        "a.append(a)\nuse(a)",
        "use(" + "a + " * 250 + "a)",
    ],
)
def test_circles_end(source: str, tmp_path: Path) -> None:
    assert done(facts(tmp_path, source)) == []


def test_places_count_characters() -> None:
    code = "größe(\n  bild)[0]"
    node = parsed(code)
    assert node is not None
    call = node.value  # type: ignore[attr-defined]
    assert text_of(call, code) == "größe(\n  bild)"
    assert place_of(call.args[0], code, Span(5, 7, 6, 10)) == Span(6, 2, 6, 6)
    assert parsed("a b") is None
    assert targets_of("self.x, y[0]") == [("self.x", (0,)), ("y", (1, "[]="))]


@pytest.mark.slow
def test_names_of_networks_agree_with_their_library() -> None:
    timm = pytest.importorskip("timm")
    kinds = {
        (0.485, 0.456, 0.406): "imagenet",
        (0.5, 0.5, 0.5): "half",
        (0.48145466, 0.4578275, 0.40821073): "clip",
    }
    known = 0
    for name in timm.list_models(pretrained=True):
        kind = kind_of_name(name)
        assert kind in (None, kinds.get(tuple(timm.models.get_pretrained_cfg(name).mean))), name
        known += kind is not None
    assert known > 600
