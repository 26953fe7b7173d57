"""Tracebacks as launchers, collectors, notebooks and pastes print them: the root cause comes first, with its frames."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import pytest

from snellen.core.log import Log
from snellen.explain.parse import parse


def parsed(text: str) -> Log:
    return parse(textwrap.dedent(text).lstrip("\n") + "\n")


@dataclass(frozen=True)
class Case:
    """A log, its root cause, the innermost frame of that, and the types that only follow from it."""

    text: str
    root: str
    frame: tuple[str, int, str, str] | None
    follow: tuple[str, ...] = ()
    stream: str = ""


CASES = {
    "torchrun with a record": Case(
        """
        [rank1]: Traceback (most recent call last):
        [rank0]: Traceback (most recent call last):
        [rank1]:   File "train.py", line 11, in main
        [rank0]:   File "train.py", line 10, in main
        [rank1]:     x = a[1]
        [rank0]:     x = a[0]
        [rank0]: IndexError: zero
        [rank1]: KeyError: 1
        E0501 10:00:00.123456 140 torch/distributed/elastic/multiprocessing/api.py:833] failed (exitcode: 1)
        Traceback (most recent call last):
          File "/usr/local/bin/torchrun", line 8, in <module>
            sys.exit(main())
        torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
        ============================================================
        train.py FAILED
        ------------------------------------------------------------
        """,
        "IndexError: zero",
        ("train.py", 10, "main", "x = a[0]"),
        ("ChildFailedError",),
        "[rank0]",
    ),
    "error file of torchelastic": Case(
        """
        torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
        ============================================================
        Root Cause (first observed failure):
        [0]:
          rank      : 0 (local_rank: 0)
          exitcode  : 1 (pid: 12)
          traceback : Traceback (most recent call last):
            File "/opt/torch/elastic/errors/__init__.py", line 355, in wrapper
              return f(*args, **kwargs)
            File "train.py", line 10, in main
              raise KeyError("root")
          KeyError: 'root'
        """,
        "KeyError: 'root'",
        ("train.py", 10, "main", 'raise KeyError("root")'),
        ("ChildFailedError",),
    ),
    "mp.spawn": Case(
        """
        Traceback (most recent call last):
          File "train.py", line 9, in <module>
            mp.spawn(run, nprocs=2)
        torch.multiprocessing.spawn.ProcessRaisedException:

        -- Process 1 terminated with the following error:
        Traceback (most recent call last):
          File "/x/site-packages/torch/multiprocessing/spawn.py", line 69, in _wrap
            fn(i, *args)
          File "train.py", line 5, in run
            raise ValueError("inner")
        ValueError: inner
        """,
        "ValueError: inner",
        ("train.py", 5, "run", 'raise ValueError("inner")'),
        ("ProcessRaisedException",),
    ),
    "accelerate": Case(
        """
        Traceback (most recent call last):
          File "train.py", line 5, in run
            raise ValueError("inner")
        ValueError: inner
        Traceback (most recent call last):
          File "/x/bin/accelerate", line 8, in <module>
            sys.exit(main())
        subprocess.CalledProcessError: Command '['/x/bin/python', 'train.py']' returned non-zero exit status 1.
        """,
        "ValueError: inner",
        ("train.py", 5, "run", 'raise ValueError("inner")'),
        ("CalledProcessError",),
    ),
    "Ray": Case(
        """
        (train pid=1, ip=10.0.0.1) Epoch 1 [repeated 3x across cluster]
        Traceback (most recent call last):
          File "main.py", line 9, in <module>
            ray.get(f.remote())
        ray.exceptions.RayTaskError(ValueError): ray::f() (pid=12, ip=1.2.3.4)
          File "main.py", line 3, in f
            raise ValueError("deep")
        ValueError: deep
        """,
        "ValueError: deep",
        ("main.py", 3, "f", 'raise ValueError("deep")'),
        ("RayTaskError(ValueError)",),
    ),
    "docker compose": Case(
        """
        trainer-1  | Traceback (most recent call last):
        data-1     | serving
        trainer-1  |   File "train.py", line 5, in run
        trainer-1  |     raise ValueError("inner")
        trainer-1  | ValueError: inner
        trainer-1 exited with code 1
        """,
        "ValueError: inner",
        ("train.py", 5, "run", 'raise ValueError("inner")'),
        (),
        "trainer-1 |",
    ),
    "srun --label": Case(
        """
        0: Traceback (most recent call last):
        1: Traceback (most recent call last):
        0:   File "train.py", line 5, in run
        1:   File "train.py", line 6, in run
        0:     one()
        1:     two()
        0: ValueError: a
        1: ValueError: b
        srun: error: node1: task 0: Exited with exit code 1
        """,
        "ValueError: a",
        ("train.py", 5, "run", "one()"),
        (),
        "0:",
    ),
    "pdsh": Case(
        """
        node1: Traceback (most recent call last):
        node2: [2024-05-01 10:00:00,123] [INFO] ok
        node1:   File "train.py", line 3, in work
        node1:     go()
        node1: ValueError: bad
        """,
        "ValueError: bad",
        ("train.py", 3, "work", "go()"),
        (),
        "node1:",
    ),
    "nested groups": Case(
        """
          + Exception Group Traceback (most recent call last):
          |   File "a.py", line 20, in <module>
          |     f()
          | ExceptionGroup: several (2 sub-exceptions)
          +-+---------------- 1 ----------------
            | Traceback (most recent call last):
            |   File "a.py", line 3, in g
            |     raise ValueError("one")
            | ValueError: one
            +---------------- 2 ----------------
            | Exception Group Traceback (most recent call last):
            |   File "a.py", line 3, in h
            | ExceptionGroup: nested (1 sub-exception)
            +-+---------------- 1 ----------------
              | KeyError: 'two'
              +------------------------------------
        """,
        "ValueError: one",
        ("a.py", 3, "g", 'raise ValueError("one")'),
        ("ExceptionGroup", "ExceptionGroup"),
    ),
    "rich": Case(
        """
        ╭───────────────────── Traceback (most recent call last) ──────────────────────╮
        │ /home/user/project/train.py:305 in <module>                                  │
        │                                                                              │
        │   302                                                                        │
        │ ❱ 305 │   main()                                                             │
        │                                                                              │
        │ /home/user/miniconda3/envs/x/lib/python3.10/site-packages/torch/nn/modules/m │
        │ odule.py:1501 in _call_impl                                                  │
        │                                                                              │
        │ ❱ 1501 │   │   │   return forward_call(*args, **kwargs)                      │
        ╰──────────────────────────────────────────────────────────────────────────────╯
        RuntimeError: boom
        """,
        "RuntimeError: boom",
        (
            "/home/user/miniconda3/envs/x/lib/python3.10/site-packages/torch/nn/modules/module.py",
            1501,
            "_call_impl",
            "return forward_call(*args, **kwargs)",
        ),
    ),
    "rich in a narrow window": Case(
        """
        ╭───────────────────── Traceback (most recent call last) ──────────────────────╮
        │ in <module>:3                                                                │
        │                                                                              │
        │ ❱ 3 main()                                                                   │
        │ /home/user/miniconda3/envs/x/lib/python3.11/site-packages/click/core.py:1157 in  │
        │ __call__                                                                     │
        │                                                                              │
        │ ❱ 1157 │   │   return self.main(*args, **kwargs)                             │
        ╰──────────────────────────────────────────────────────────────────────────────╯
        ValueError: bad
        """,
        "ValueError: bad",
        (
            "/home/user/miniconda3/envs/x/lib/python3.11/site-packages/click/core.py",
            1157,
            "__call__",
            "return self.main(*args, **kwargs)",
        ),
    ),
    "loguru": Case(
        """
        2024-05-01 10:00:00.123 | ERROR    | __main__:<module>:12 - An error has been caught in function '<module>':
        Traceback (most recent call last):

        > File "train.py", line 12, in <module>
            main()
            └ <function main at 0x7f>

          File "train.py", line 8, in main
            x / 0
            └ 3

        ZeroDivisionError: division by zero
        """,
        "ZeroDivisionError: division by zero",
        ("train.py", 8, "main", "x / 0"),
    ),
    "GitHub Actions": Case(
        """
        2024-05-01T10:00:00.1234567Z ##[error]Traceback (most recent call last):
        2024-05-01T10:00:00.1234567Z   File "t.py", line 3, in f
        2024-05-01T10:00:00.1234567Z     go()
        2024-05-01T10:00:00.1234567Z ValueError: bad
        2024-05-01T10:00:00.1234567Z ##[error]Process completed with exit code 1.
        """,
        "ValueError: bad",
        ("t.py", 3, "f", "go()"),
    ),
    "containerd": Case(
        """
        2024-05-01T10:00:00.000000000Z stderr F Traceback (most recent call last):
        2024-05-01T10:00:00.000000000Z stderr F   File "t.py", line 3, in f
        2024-05-01T10:00:00.000000000Z stderr F     go()
        2024-05-01T10:00:00.000000000Z stderr F ValueError: bad
        """,
        "ValueError: bad",
        ("t.py", 3, "f", "go()"),
    ),
    "journalctl": Case(
        """
        May 02 10:00:00 gpu01 python[123]: Traceback (most recent call last):
        May 02 10:00:00 gpu01 python[123]:   File "t.py", line 3, in f
        May 02 10:00:00 gpu01 python[123]:     go()
        May 02 10:00:00 gpu01 python[123]: ValueError: bad
        """,
        "ValueError: bad",
        ("t.py", 3, "f", "go()"),
    ),
    "a logger in front of every line": Case(
        """
        E0501 10:00:00.123456 1234 trainer.py:12] Traceback (most recent call last):
        E0501 10:00:00.123456 1234 trainer.py:12]   File "t.py", line 3, in f
        E0501 10:00:00.123499 1234 trainer.py:12]     go()
        E0501 10:00:00.123499 1234 trainer.py:12] ValueError: bad
        """,
        "ValueError: bad",
        ("t.py", 3, "f", "go()"),
        (),
        "E trainer.py:12]",
    ),
    "a logger in front of the message": Case(
        "2024-05-01 10:00:00,123 - root - ERROR - ValueError: bad\n", "ValueError: bad", None
    ),
    "faulthandler": Case(
        """
        Fatal Python error: Segmentation fault

        Current thread 0x00007f (most recent call first):
          File "/x/site-packages/cv2/__init__.py", line 3 in imread
          File "train.py", line 9 in load
          File "train.py", line 20 in <module>

        Segmentation fault (core dumped)
        """,
        "Fatal Python error: Segmentation fault",
        ("/x/site-packages/cv2/__init__.py", 3, "imread", ""),
    ),
    "C++": Case(
        """
        terminate called after throwing an instance of 'c10::Error'
          what():  CUDA error: an illegal memory access was encountered
        Exception raised from c10_cuda_check at ../c10/cuda/CUDAException.cpp:44 (most recent call first):
        frame #0: c10::Error::Error(c10::SourceLocation, std::string) + 0x57 (0x7f in /x/libc10.so)

        Aborted (core dumped)
        """,
        "c10::Error: CUDA error: an illegal memory access was encountered",
        None,
    ),
    "the user's code of a compiler": Case(
        """
        Traceback (most recent call last):
          File "t.py", line 3, in <module>
            f(x)
        torch._dynamo.exc.Unsupported: call_function BuiltinVariable(print)

        from user code:
           File "model.py", line 7, in forward
            print(x)

        Set TORCHDYNAMO_VERBOSE=1 for the internal stack trace
        """,
        "torch._dynamo.exc.Unsupported: call_function BuiltinVariable(print)",
        ("model.py", 7, "forward", "print(x)"),
    ),
    "an error while the process was ending": Case(
        """
        Exception ignored in: <function _MultiProcessingDataLoaderIter.__del__ at 0x7f>
        Traceback (most recent call last):
          File "/x/site-packages/torch/utils/data/dataloader.py", line 1478, in __del__
            self._shutdown_workers()
        AttributeError: 'NoneType' object has no attribute 'x'
        Traceback (most recent call last):
          File "t.py", line 3, in <module>
            f(x)
        ValueError: the one
        """,
        "ValueError: the one",
        ("t.py", 3, "<module>", "f(x)"),
        ("AttributeError",),
    ),
    "an old notebook": Case(
        """
        ---------------------------------------------------------------------------
        RuntimeError                              Traceback (most recent call last)
        <ipython-input-5-0a> in <module>()
              1 x = 1
        ----> 2 model(x)

        1 frames
        /usr/local/lib/python3.7/dist-packages/torch/nn/modules/module.py in _call_impl(self, *input, **kwargs)
           1100             result = forward_call(*input)
        -> 1102             return forward_call(*input, **kwargs)

        RuntimeError: boom
        """,
        "RuntimeError: boom",
        (
            "/usr/local/lib/python3.7/dist-packages/torch/nn/modules/module.py",
            1102,
            "_call_impl",
            "return forward_call(*input, **kwargs)",
        ),
    ),
    "a notebook that was cut": Case(
        """
        RuntimeError                              Traceback (most recent call last)
        <ipython-input-5-0a> in <module>()
        ----> 2 model(x)
        """,
        "RuntimeError",
        ("<ipython-input-5-0a>", 2, "<module>", "model(x)"),
    ),
    "a notebook on Windows": Case(
        r"""
        ValueError                                Traceback (most recent call last)
        Cell In[3], line 1
        ----> 1 train()

        File c:\Users\user\my project\train.py:12, in train(x)
             11 def train():
        ---> 12     raise ValueError("bad")

        ValueError: bad
        """,
        "ValueError: bad",
        ("c:\\Users\\user\\my project\\train.py", 12, "train", 'raise ValueError("bad")'),
    ),
    "colours whose escape character was lost": Case(
        """
        [0;31mRuntimeError[0m                              Traceback (most recent call last)
        [0;32m<ipython-input-5-0a>[0m in [0;36m<module>[0;34m[0m
        [0;32m----> 2[0;31m [0mmodel[0m[0;34m([0m[0mx[0m[0;34m)[0m[0;34m[0m[0m
        [0;31mRuntimeError[0m: boom
        """,
        "RuntimeError: boom",
        ("<ipython-input-5-0a>", 2, "<module>", "model(x)"),
    ),
    "a loader before torch 1.2": Case(
        """
        Traceback (most recent call last):
          File "t.py", line 5, in <module>
            main()
        RuntimeError: Traceback (most recent call last):
          File "/x/python3.6/site-packages/torch/utils/data/dataloader.py", line 138, in _worker_loop
            samples = collate_fn([dataset[i] for i in batch_indices])
        invalid argument 0: Sizes of tensors must match except in dimension 0
        """,
        "RuntimeError: invalid argument 0: Sizes of tensors must match except in dimension 0",
        (
            "/x/python3.6/site-packages/torch/utils/data/dataloader.py",
            138,
            "_worker_loop",
            "samples = collate_fn([dataset[i] for i in batch_indices])",
        ),
    ),
    "papermill": Case(
        """
        ValueError                                Traceback (most recent call last)
        Cell In[3], line 1
        ----> 1 go()

        ValueError: bad

        Traceback (most recent call last):
          File "/x/bin/papermill", line 8, in <module>
            sys.exit(papermill())
        papermill.exceptions.PapermillExecutionError:
        ---------------------------------------------------------------------------
        Exception encountered at "In [3]":
        """,
        "ValueError: bad",
        ("<cell>", 1, "<cell>", "go()"),
        ("PapermillExecutionError",),
    ),
    "a pool": Case(
        '''
        multiprocessing.pool.RemoteTraceback:
        """
        Traceback (most recent call last):
          File "t.py", line 3, in work
            go()
        ValueError: bad
        """

        The above exception was the direct cause of the following exception:

        Traceback (most recent call last):
          File "t.py", line 30, in <module>
            pool.map(work)
        ValueError: bad
        ''',
        "ValueError: bad",
        ("t.py", 3, "work", "go()"),
    ),
    "hydra": Case(
        """
        Error executing job with overrides: ['lr=1']
        Traceback (most recent call last):
          File "t.py", line 3, in work
            go()
        ValueError: bad
        Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.
        """,
        "ValueError: bad",
        ("t.py", 3, "work", "go()"),
    ),
    "a path that the terminal wrapped": Case(
        """
        Traceback (most recent call last):
          File "/home/user/very/long/path/lib/python3.8/site-packages/torc
        h/nn/modules/module.py", line 727, in _call_impl
            result = self.forward(*input, **kwargs)
        ValueError: bad
        """,
        "ValueError: bad",
        (
            "/home/user/very/long/path/lib/python3.8/site-packages/torch/nn/modules/module.py",
            727,
            "_call_impl",
            "result = self.forward(*input, **kwargs)",
        ),
    ),
    "a quotation": Case(
        """
        > Traceback (most recent call last):
        >   File "t.py", line 3, in work
        >     go()
        > ValueError: bad
        """,
        "ValueError: bad",
        ("t.py", 3, "work", "go()"),
        (),
        ">",
    ),
    "entities and curly quotes": Case(
        """
        Traceback (most recent call last):
          File &quot;t.py&quot;, line 3, in &lt;module&gt;
            go()
        ValueError: “bad”
        """,
        'ValueError: "bad"',
        ("t.py", 3, "<module>", "go()"),
    ),
    "a syntax error": Case(
        """
          File "t.py", line 5
            print "x"
                  ^
        SyntaxError: Missing parentheses in call to 'print'
        """,
        "SyntaxError: Missing parentheses in call to 'print'",
        ("t.py", 5, "", 'print "x"'),
    ),
    "JSON records": Case(
        r"""
        {"log":"Traceback (most recent call last):\n","stream":"stderr"}
        {"log":"  File \"t.py\", line 3, in f\n","stream":"stderr"}
        {"log":"    go()\n"}
        {"log":"ValueError: bad\n"}
        """,
        "ValueError: bad",
        ("t.py", 3, "f", "go()"),
    ),
    "a JSON record": Case(
        r"""
        {"level": "ERROR", "message": "failed", "exc_info": "Traceback (most recent call last):\n  File \"t.py\", line 3, in f\n    go()\nValueError: bad"}
        """,  # noqa: E501
        "ValueError: bad",
        ("t.py", 3, "f", "go()"),
    ),
    "Kaggle": Case(
        r"""
        [{"stream_name":"stderr","time":12.3,"data":"Traceback (most recent call last):\n"}
        ,{"stream_name":"stderr","time":12.3,"data":"  File \"t.py\", line 3, in f\n    go()\nValueError: bad\n"}]
        """,
        "ValueError: bad",
        ("t.py", 3, "f", "go()"),
    ),
    "a list of lines": Case(
        r"""
        ['Traceback (most recent call last):\n', '  File "t.py", line 3, in f\n', '    go()\n', 'ValueError: bad\n']
        """,
        "ValueError: bad",
        ("t.py", 3, "f", "go()"),
    ),
    "line ends written out": Case(
        r"""
        ERROR: Traceback (most recent call last):\n  File "t.py", line 3, in f\n    go()\nValueError: bad
        """,
        "ValueError: bad",
        ("t.py", 3, "f", "go()"),
    ),
    "line ends lost": Case(
        """
        Traceback (most recent call last): File "t.py", line 3, in <module> main() File "t.py", line 9, in main go(x) ValueError: bad thing
        """,  # noqa: E501
        "ValueError: bad thing",
        ("t.py", 9, "main", "go(x)"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_root_frames_and_what_follows(case: Case) -> None:
    log = parsed(case.text)
    assert log.root is not None
    assert log.root.text == case.root
    frame = log.root.frames[-1] if log.root.frames else None
    assert case.frame == (None if frame is None else (frame.path, frame.line, frame.function, frame.code))
    assert tuple(error.name for error in log.exceptions if error.follows) == case.follow
    assert log.root.stream == case.stream


def test_both_ranks_are_told_apart() -> None:
    log = parsed(CASES["torchrun with a record"].text)
    assert [(error.text, error.stream, error.frames[-1].line) for error in log.exceptions[:2]] == [
        ("IndexError: zero", "[rank0]", 10),
        ("KeyError: 1", "[rank1]", 11),
    ]


def test_the_only_exception_is_the_root_even_if_it_mostly_follows() -> None:
    log = parsed("KeyboardInterrupt\n")
    assert log.root is not None
    assert not log.root.follows


def test_what_stands_below_an_exception_is_not_its_message() -> None:
    for line in ("wandb: Waiting for W&B process to finish", "user@host:~/x$ ls", "100%|####| 3/3", "In [5]: x"):
        log = parsed(f"ValueError: bad\n{line}\n")
        assert log.root is not None
        assert log.root.message == "bad"


def test_no_line_of_a_windows_path_is_taken_apart() -> None:
    log = parsed(r"FileNotFoundError: [Errno 2] No such file or directory: 'C:\new\data\n01440764\img.jpg'")
    assert log.root is not None
    assert log.root.message.endswith(r"C:\new\data\n01440764\img.jpg'")
