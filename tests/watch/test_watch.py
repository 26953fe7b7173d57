"""A watched command keeps its bytes, its terminal, its signals and its exit code."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from snellen.errors import UsageError
from snellen.watch import anywhere, watch
from snellen.watch.output import Tee

WATCH = [sys.executable, "-m", "snellen", "watch"]
OVERFLOW = "value cannot be converted to type at::Half without overflow"
NOISE = r"""
import os, sys
sys.stdout.write("\x1b[31mred\x1b[0m caf\u00e9\n"); sys.stdout.flush()
sys.stderr.write("\r 10%|#   |\r 20%|##  |"); sys.stderr.flush()
os.write(1, bytes(range(256))); os.write(2, b"\xff\xfe end without a line")
"""


def python(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", program, *arguments]


@pytest.mark.parametrize("code", [0, 1, 7, 130])
def test_output_and_exit_code_are_the_commands_own(code: int) -> None:
    command = python(f"{NOISE}\nsys.exit({code})")
    alone = subprocess.run(command, capture_output=True, check=False)
    watched = subprocess.run([*WATCH, "--", *command], capture_output=True, check=False)
    assert (watched.returncode, watched.stdout) == (code, alone.stdout)
    assert watched.stderr.startswith(alone.stderr)
    assert (b"snellen:" in watched.stderr) == (code not in (0, 130))


def test_a_failure_is_explained_on_stderr(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    program.write_text(f"scores.masked_fill(mask, -1e9) if False else None\nraise RuntimeError({OVERFLOW!r})\n")
    log = tmp_path / "train.log"
    done = subprocess.run(
        [*WATCH, "--log", str(log), sys.executable, str(program)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "half-overflow" in done.stderr
    assert "next: snellen explain half-overflow" in done.stderr
    assert OVERFLOW in log.read_text()


def test_input_reaches_the_command() -> None:
    done = subprocess.run(
        [*WATCH, *python("print(input().upper())")], input="hello\n", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "HELLO\n", "")


@pytest.mark.parametrize(("name", "number"), [("SIGKILL", 9), ("SIGTERM", 15), ("SIGSEGV", 11)])
def test_a_signal_is_told_as_a_shell_tells_it(name: str, number: int) -> None:
    command = python(f"import os; os.kill(os.getpid(), {number})")
    done = subprocess.run([*WATCH, "--", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + number
    assert f"was ended by {name}" in done.stderr


def test_what_cannot_be_started_has_the_exit_code_of_a_shell(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("no program")
    for command, code in (("no-such-program-at-all", 127), (str(text), 126)):
        done = subprocess.run([*WATCH, "--", command], capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stderr.startswith(f"snellen: cannot run {command}: ")


def test_a_log_that_cannot_be_written_is_said_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        watch(["true"], log=tmp_path / "no" / "such" / "folder.log")


def test_a_reader_that_goes_away_ends_the_command_as_without_us() -> None:
    loop = "import sys\nwhile True: sys.stdout.write('line\\n')"
    command = f'{" ".join(WATCH)} -- {sys.executable} -c "{loop}" | head -1'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "line\n"


def test_what_a_command_leaves_behind_does_not_hold_us() -> None:
    left = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print('x')"
    started = time.monotonic()
    done = subprocess.run([*WATCH, *python(left)], stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "x\n")
    assert time.monotonic() - started < 30


def test_a_fault_of_the_explanation_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from snellen.cli.main import main

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    for place in ("snellen.watch.examine_parsed", "snellen.watch.askable", "snellen.explain.reading.Collector.feed"):
        with monkeypatch.context() as patched:
            patched.setattr(place, broken)
            patched.setattr(sys, "argv", ["snellen", "watch", "--", *python("print('x'); raise SystemExit(5)")])
            with pytest.raises(SystemExit) as end:
                main()
        out, err = capfd.readouterr()
        assert (end.value.code, out) == (5, "x\n")
        assert "ZeroDivisionError: oh" in err


@pytest.mark.parametrize("code", [0, 3])
def test_where_there_are_no_pseudo_terminals(code: int, capfd: pytest.CaptureFixture[str]) -> None:
    tee = Tee(None, _no_rules)
    assert (
        anywhere.run(python(f"import sys; print('out'); print('err', file=sys.stderr); sys.exit({code})"), tee) == code
    )
    assert capfd.readouterr() == ("out\n", "err\n")
    with pytest.raises(UsageError, match="no such program"):
        anywhere.run(["no-such-program-at-all"], tee)


def _no_rules() -> object:
    from snellen.explain.reading import Collector
    from snellen.rules.asking import Askable

    return Collector(), Askable({}, {})


@dataclass
class Terminal:
    """A process in front of a terminal of its own."""

    process: int
    descriptor: int
    said: bytes = b""

    def until(self, words: bytes, *, after: bytes = b"", seconds: float = 60) -> bytes:
        """Read until the words were said, after some others where these are given."""
        end = time.monotonic() + seconds
        while words not in (self.said.partition(after)[2] if after else self.said):
            assert time.monotonic() < end, f"{words!r} is not in {self.said!r}"
            if select.select([self.descriptor], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    self.said += os.read(self.descriptor, 4096)
        return self.said

    def end(self) -> int:
        """Read the rest; gives the exit code."""
        with contextlib.suppress(OSError):
            while part := os.read(self.descriptor, 4096):
                self.said += part
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Starts a program in a terminal of 50 by 123 characters."""
    started: list[Terminal] = []

    def start(*command: str) -> Terminal:
        process, descriptor = pty.fork()
        if not process:
            os.execv(command[0], command)  # noqa: S606 - the program is the test's own
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 123, 0, 0))
        started.append(Terminal(process, descriptor))
        return started[-1]

    yield start
    for one in started:
        os.close(one.descriptor)
        with contextlib.suppress(OSError):
            os.kill(one.process, signal.SIGKILL)
            os.waitpid(one.process, 0)


def test_a_terminal_stays_a_terminal_and_every_byte_passes(terminal: Callable[..., Terminal]) -> None:
    program = f"{NOISE}\nprint(); print(sys.stdout.isatty(), sys.stderr.isatty(), os.get_terminal_size().columns)"
    input_first = "input()\n" + program  # the size is set by then
    alone, watched = terminal(*python(input_first)), terminal(*WATCH, "--", *python(input_first))
    for one in (alone, watched):
        os.write(one.descriptor, b"\n")
        assert one.end() == 0
    assert b"True True 123" in alone.said
    assert watched.said == alone.said


COUNTS = """
import signal, sys, time
seen = []
def note(number, frame):
    seen.append(number)
    print("got", signal.Signals(number).name, len(seen), flush=True)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGWINCH, signal.SIGUSR1):
    signal.signal(number, note)
print("ready", flush=True)
while signal.SIGUSR1 not in seen:
    time.sleep(0.05)
time.sleep(0.5)
print("in all", len(seen), flush=True)
"""


@pytest.mark.skipif(signal.getsignal(signal.SIGINT) is signal.SIG_IGN, reason="Ctrl-C is ignored here, as behind nohup")
def test_ctrl_c_arrives_once_and_kill_is_passed_on(terminal: Callable[..., Terminal]) -> None:
    one = terminal(*WATCH, "--", *python(COUNTS))
    one.until(b"ready")
    os.write(one.descriptor, b"\x03")
    one.until(b"got SIGINT 1")
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        os.kill(one.process, getattr(signal, name))
        one.until(f"got {name}".encode() if name != "SIGINT" else b"got SIGINT 2")
    assert one.end() == 0
    assert b"in all 4" in one.said


def test_signals_are_passed_on_without_a_terminal() -> None:
    process = subprocess.Popen(
        [*WATCH, "--", *python(COUNTS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        process.send_signal(getattr(signal, name))
        assert process.stdout.readline().startswith(f"got {name}")
    assert process.communicate()[0] == "in all 3\n"
    assert process.returncode == 0


def test_a_changed_size_reaches_the_command(terminal: Callable[..., Terminal]) -> None:
    program = """
import os, signal, time
signal.signal(signal.SIGWINCH, lambda *_: print("columns", os.get_terminal_size().columns, flush=True))
print("ready", flush=True)
input()
"""
    one = terminal(*WATCH, "--", *python(program))
    one.until(b"ready")
    fcntl.ioctl(one.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 77, 0, 0))
    one.until(b"columns 77")
    os.write(one.descriptor, b"\n")
    assert one.end() == 0


ECHO = """
import sys
print("ready", flush=True)
for line in sys.stdin:
    print(line.strip().upper(), flush=True)
"""


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="needs a shell with job control")
def test_ctrl_z_stops_both_and_they_go_on(terminal: Callable[..., Terminal], tmp_path: Path) -> None:
    program = tmp_path / "echo.py"
    program.write_text(ECHO)
    one = terminal("/bin/bash", "--norc", "-i")
    os.write(one.descriptor, f"{' '.join(WATCH)} -- {sys.executable} {program}\n".encode())
    one.until(b"ready")
    os.write(one.descriptor, b"first\n")
    one.until(b"FIRST")
    os.write(one.descriptor, b"\x1a")
    # What is typed before the shell shows its prompt may be thrown away when it takes the terminal back.
    one.until(b"# " if os.geteuid() == 0 else b"$ ", after=b"Stopped")
    os.write(one.descriptor, b"echo $((6 * 7)) in the shell; fg\n")
    one.until(b"echo.py", after=b"42 in the shell")
    os.write(one.descriptor, b"second\n")
    one.until(b"SECOND")
    os.write(one.descriptor, b"\x04")
    os.write(one.descriptor, b"exit 0\n")
    assert one.end() == 0
