"""Tracebacks of every kind, as Python itself and other tools print them."""

from __future__ import annotations

import gc
import textwrap
import traceback

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from snellen.core.log import Log
from snellen.explain.parse import parse


def parsed(text: str) -> Log:
    return parse(textwrap.dedent(text).lstrip("\n") + "\n")


def raised(function: object) -> Exception:
    try:
        function()  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001 - the test wants any
        return error
    raise AssertionError


def _cause() -> None:
    try:
        int("x")
    except ValueError as error:
        raise RuntimeError("outer\nwith two lines") from error


def test_the_cause_of_a_chain_comes_first_with_its_frames() -> None:
    log = parse(raised(_cause))
    assert [error.name for error in log.exceptions] == ["ValueError", "RuntimeError"]
    assert log.exceptions[1].message == "outer\nwith two lines"
    frame = log.exceptions[0].frames[-1]
    assert (frame.function, frame.code) == ("_cause", 'int("x")')
    assert frame.path == __file__
    assert log.lines[log.exceptions[0].line - 1].text.startswith("ValueError: invalid literal")


def test_python_and_the_parser_agree_on_the_frames() -> None:
    error = raised(_cause)
    expected = [(frame.name, frame.line) for frame in traceback.extract_tb(error.__traceback__)]
    assert [(frame.function, frame.code) for frame in parse(error).exceptions[-1].frames] == expected


class _Failing(Dataset[torch.Tensor]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        raise FileNotFoundError(2, "No such file or directory", "a.png")


def test_what_a_loader_worker_raised_comes_before_its_messenger() -> None:
    # Only the text is kept: the exception's frames would keep the worker's threads alive.
    log = parse("".join(traceback.format_exception(raised(lambda: list(DataLoader(_Failing(), num_workers=1))))))
    gc.collect()
    assert log.root is not None
    assert log.root.message == "[Errno 2] No such file or directory: 'a.png'"
    assert log.root.frames[-1].function == "__getitem__"
    assert log.exceptions[-1].message.startswith("Caught FileNotFoundError in DataLoader worker")


def test_members_of_a_group_come_before_the_group() -> None:
    def group() -> None:
        raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])

    names = [error.name for error in parse(raised(group)).exceptions]
    assert names == ["ValueError", "KeyError", "ExceptionGroup"]


def test_a_notebook_traceback() -> None:
    log = parsed("""
        ---------------------------------------------------------------------------
        RuntimeError                              Traceback (most recent call last)
        Cell In[5], line 2
              1 x = make()
        ----> 2 fail(x)

        File ~/project/model.py:12, in fail(x)
             11 def fail(x):
        ---> 12     raise RuntimeError("boom")

        RuntimeError: boom
        """)
    assert log.root is not None
    assert [(f.path, f.line, f.function, f.code) for f in log.root.frames] == [
        ("<cell>", 2, "<cell>", "fail(x)"),
        ("~/project/model.py", 12, "fail", 'raise RuntimeError("boom")'),
    ]
    assert log.root.message == "boom"


def test_a_pytest_report() -> None:
    log = parsed("""
        train.py:44: in <module>
            ImageFolder(train_dir)
        lib/folder.py:79: in __init__
            raise RuntimeError(message)
        E   RuntimeError: Found 0 files in subfolders of: data
        E   Supported extensions are: .jpg
        """)
    assert log.root is not None
    assert log.root.message == "Found 0 files in subfolders of: data\nSupported extensions are: .jpg"
    assert [frame.function for frame in log.root.frames] == ["<module>", "__init__"]


def test_every_rank_printing_the_same_is_one_exception() -> None:
    lines = [
        f"[rank{rank}]: {line}"
        for rank in range(4)
        for line in ("Traceback (most recent call last):", '  File "a.py", line 3, in f', "    go()", "ValueError: bad")
    ]
    log = parsed("\n".join(lines))
    assert [error.text for error in log.exceptions] == ["ValueError: bad"]
    assert log.exceptions[0].frames[0].code == "go()"


@pytest.mark.parametrize(
    "text",
    [
        "Traceback (most recent call last):",
        'Traceback (most recent call last):\n  File "a.py", line 3, in f',
        '  File "a.py", line 3, in f\n    go()',
        "ValueError",
        "",
        "\n\n\n",
        "Error: : :",
        "Original Traceback (most recent call last):\nDuring handling of the above exception, another one occurred:",
    ],
)
def test_what_is_cut_off_does_no_harm(text: str) -> None:
    log = parse(text + "\n")
    assert all(error.type for error in log.exceptions)


def test_warnings_and_prose_are_no_exceptions() -> None:
    log = parsed("""
        UserWarning: something may be wrong
        No error: everything is fine
        The Error was gone.
        """)
    assert log.exceptions == ()


def test_metric_lines_of_several_styles() -> None:
    log = parsed("""
        {"epoch": 299, "step": 264205, "loss": NaN, "lr": 1.28}
        Epoch [1][50/5808] lr: 1.000e-02, loss_cls: 0.8754, loss: 1.6360
        Epoch: [99][4990/5005]  Time 0.081  Loss 1.7134e+00 (1.3751e+00)
        step=3 loss=inf
        accuracy 0.5
        """)
    assert log.metrics[0].step == 264205
    assert log.metrics[0].values["loss"] != log.metrics[0].values["loss"]
    assert log.metrics[1].values["loss"] == pytest.approx(1.636)
    assert log.metrics[2].values["Loss"] == pytest.approx(1.7134)
    assert log.metrics[3].values["loss"] == float("inf")
    assert log.metrics[4].values == {"accuracy": 0.5}


def test_versions_are_noted() -> None:
    log = parsed("PyTorch version: 2.6.0+cu124\nPython 3.11.4\nsome torch: 1.0")
    assert log.environment == {"torch": "2.6.0+cu124", "python": "3.11.4"}
