"""What lint knows of a file: names, constants, origins, surroundings."""

from __future__ import annotations

from pathlib import Path

import pytest

from snellen.core.source import UNKNOWN, CallSite, SourceFile
from source_facts import facts


def call(file: SourceFile, method: str) -> CallSite:
    return next(site for site in file.calls if site.method == method)


@pytest.mark.parametrize(
    ("imports", "written"),
    [
        ("import torch", "torch.nn.functional.unfold(x)"),
        ("import torch.nn.functional as F", "F.unfold(x)"),
        ("import torch.nn as nn", "nn.functional.unfold(x)"),
        ("from torch import nn", "nn.functional.unfold(x)"),
        ("from torch.nn import functional as G", "G.unfold(x)"),
        ("from torch.nn.functional import unfold", "unfold(x)"),
        ("from torch.nn.functional import unfold as u", "u(x)"),
    ],
)
def test_every_way_to_import_gives_the_same_name(tmp_path: Path, imports: str, written: str) -> None:
    file = facts(tmp_path, f"{imports}\nx = 1\ny = {written}\n")
    assert call(file, "unfold").name == "torch.nn.functional.unfold"
    assert call(file, "unfold").target == "y"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("-1e9", -1e9),
        ("2 ** 30", 2**30),
        ("-(10 ** 9)", -(10**9)),
        ("float('-1e9')", -1e9),
        ("NEG", -5.0),
        ("NEG * 2", -10.0),
        ("self.fill", 7),
        ("(0, 3, 1, 2)", (0, 3, 1, 2)),
        ("torch.finfo(torch.float32).min", -3.4028234663852886e38),
        ("torch.finfo(x.dtype).min", UNKNOWN),
        ("2 ** 99999999", UNKNOWN),
        ("1 / 0", UNKNOWN),
        ("changed", UNKNOWN),
        ("x", UNKNOWN),
        ("math.inf", float("inf")),
    ],
)
def test_constants_are_followed(tmp_path: Path, expression: str, value: object) -> None:
    source = f"""
    import math
    import torch
    NEG = -5.0
    changed = 1
    changed = 2
    class Net:
        def __init__(self):
            self.fill = 7
        def forward(self, x):
            use({expression})
    """
    assert call(facts(tmp_path, source), "use").arguments[0].value == value


def test_constants_of_several_names_are_followed(tmp_path: Path) -> None:
    source = """
        MEAN, (SIZE, NAME) = [0.5, 0.25], (224, "a")
        first, *rest = 1, 2, 3
        look(MEAN, SIZE, NAME, first)
    """
    arguments = call(facts(tmp_path, source), "look").arguments
    assert [argument.value for argument in arguments] == [(0.5, 0.25), 224, "a", UNKNOWN]


def test_origins_pass_through_reshaping_functions_and_parameters(tmp_path: Path) -> None:
    file = facts(
        tmp_path,
        """
        import torch.nn.functional as F
        from settings import read
        def load():
            return make()
        def use(config):
            first(config["a"].b)
        def main():
            x = load()
            second(x.view(2).float()[0])
            third(F.normalize(x, dim=1))
            use(load())
            for item in x:
                fourth(item)
            fifth(read().get("lr"))
            a, b = x
            sixth(b)
            seventh(float(x))
        """,
        settings="""
        import yaml
        def read():
            with open("a.yaml") as file:
                return yaml.safe_load(file)
        """,
    )

    def origin(method: str) -> tuple[str, tuple[str, ...]] | None:
        found = call(file, method).arguments[0].origin
        return (found.name, found.through) if found else None

    assert origin("first") == ("make", ("[]", ".b"))
    assert origin("second") == ("make", ("view", "float", "[]"))
    assert origin("third") == ("make", ("normalize",))
    assert origin("fourth") == ("make", ("[]",))
    assert origin("fifth") == ("yaml.safe_load", ("get",))
    assert origin("sixth") == ("make", ("[]",))
    assert origin("seventh") == ("float", ())


def test_callers_that_disagree_say_nothing_of_a_parameter(tmp_path: Path) -> None:
    file = facts(tmp_path, "def use(x):\n    look(x)\nuse(one())\nuse(two())\n")
    assert call(file, "look").arguments[0].origin is None


def test_modules_made_in_the_constructor_are_known_where_they_are_called(tmp_path: Path) -> None:
    file = facts(
        tmp_path,
        """
        from torch import nn
        class Net(nn.Module):
            def forward(self, x):
                return self.unfold(x).mean(2)
            def __init__(self):
                self.unfold = nn.Unfold(3)
        """,
    )
    assert call(file, "forward").name == "torch.nn.Unfold.forward"
    mean = call(file, "mean")
    assert mean.receiver_origin is not None
    assert mean.receiver_origin.name == "torch.nn.Unfold.forward"


def test_surroundings(tmp_path: Path) -> None:
    file = facts(
        tmp_path,
        """
        import torch
        class A:
            def f(self):
                with torch.no_grad(), torch.autocast("cuda"):
                    for _ in range(3):
                        look(1)
                done()
        try:
            risky(2)
        except (ValueError, OSError):
            pass
        except Exception as error:
            raise
        z = p @ q
        """,
    )
    look = call(file, "look")
    assert (look.function, look.contexts, look.in_loop) == ("A.f", ("torch.no_grad", "torch.autocast"), True)
    assert (call(file, "done").contexts, call(file, "done").in_loop) == ((), False)
    assert call(file, "done").discarded
    quiet, loud = file.tries
    assert (quiet.exceptions, quiet.swallows, [c.method for c in quiet.tried]) == (
        ("ValueError", "OSError"),
        True,
        ["risky"],
    )
    assert not loud.swallows
    assert [a.code for a in call(file, "matmul").arguments] == ["p", "q"]


def test_spans_count_characters(tmp_path: Path) -> None:
    file = facts(tmp_path, 'größe = "äöü"; look(größe)\n')
    span = call(file, "look").span
    assert file.text.splitlines()[0][span.start_column : span.end_column] == "look(größe)"


def test_calling_what_a_call_made_reads_as_its_forward(tmp_path: Path) -> None:
    file = facts(
        tmp_path,
        """
        import timm
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                self.body = timm.create_model("resnet18")
            def forward(self, x):
                return nn.Softmax(dim=1)(self.body(x))
        net = Net().to("cuda").eval()
        model = timm.create_model("resnet18").cuda()
        first(net(x))
        second(model(x))
        """,
    )
    body = next(site for site in file.calls if site.method == "body")
    assert body.receiver_origin is not None
    assert body.receiver_origin.name == "timm.create_model"
    (returned,) = (item for item in file.assignments if item.target == "return")
    assert returned.call is not None
    assert returned.call.name == "torch.nn.Softmax.forward"
    made = call(file, "first").arguments[0].origin
    assert made is not None
    assert (made.name, made.call.receiver) == ("Net.forward", "net")
    assert made.call.receiver_origin is not None
    assert made.call.receiver_origin.through == ("to", "eval")
    factory = call(file, "second").arguments[0].origin
    assert factory is not None
    assert factory.call.receiver_origin is not None
    assert (factory.name, factory.call.receiver_origin.name) == ("model", "timm.create_model")


def test_constructors_and_methods_know_what_they_are_given(tmp_path: Path) -> None:
    file = facts(
        tmp_path,
        """
        import torch
        class Trainer:
            def __init__(self, model, optimizer=None):
                self.optimizer = optimizer
                self.run(Net(), speed=torch.ones(1))
                first(model)
            def run(self, net, *, speed):
                second(net)
                third(speed)
                self.optimizer.step()
        Trainer(Net(), optimizer=torch.optim.SGD(params))
        """,
    )
    origins = [call(file, name).arguments[0].origin for name in ("first", "second", "third")]
    assert [origin and origin.name for origin in origins] == ["Net", "Net", "torch.ones"]
    receiver = call(file, "step").receiver_origin
    assert receiver is not None
    assert receiver.name == "torch.optim.SGD"


def test_owners_with_statements_and_idle_statements(tmp_path: Path) -> None:
    file = facts(
        tmp_path,
        '''
        """A comparison == in a docstring."""
        import torch
        model = Net()
        for p in model.parameters():
            p.requires_grad == False
            p.requires_grad = False
        def step(loss):
            with torch.autocast("cuda", dtype=torch.float16), lock:
                loss.backward
                use(loss)
        done = a == b
        ''',
    )
    assert [(item.kind, item.code, item.function) for item in file.idle] == [
        ("comparison", "p.requires_grad == False", ""),
        ("attribute", "loss.backward", "step"),
    ]
    (block,) = file.withs
    assert (block.items, [site.name for site in block.calls]) == (("torch.autocast", "lock"), ["torch.autocast"])
    assert block.span.contains(call(file, "use").span)
    assert block.function == "step"
    (freeze,) = (item for item in file.assignments if item.target == "p.requires_grad")
    assert freeze.owner is not None
    assert (freeze.owner.name, freeze.owner.call.receiver) == (".parameters", "model")


def test_functions_know_names_that_the_module_gives_below_them(tmp_path: Path) -> None:
    file = facts(
        tmp_path,
        """
        from torch import nn
        def train():
            criterion(x)
            look(LIMIT, CHANGED)
        criterion = nn.CrossEntropyLoss()
        LIMIT = 3
        CHANGED = 1
        CHANGED = 2
        before(later)
        later = 1
        """,
    )
    assert file.calls[0].name == "torch.nn.CrossEntropyLoss.forward"
    assert [argument.value for argument in call(file, "look").arguments] == [3, UNKNOWN]
    assert call(file, "before").arguments[0].value is UNKNOWN
