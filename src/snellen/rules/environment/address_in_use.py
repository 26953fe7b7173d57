"""The port that a program wants to listen on is taken.

What happens
------------
`torchrun` ends at once with `DistNetworkError: The server socket has failed to listen on any local network address.
port: 29500, ... name: EADDRINUSE, message: address already in use`; older versions say `RuntimeError: Address already
in use`. TensorBoard, Gradio, Jupyter and Ray say it of their ports: `OSError: [Errno 98] Address already in use`.

Why
---
One port of a machine belongs to one process. `torchrun` and `torch.distributed.launch` meet at port 29500 unless they
are told otherwise, so a second training on the same machine collides with the first; so does a run that crashed and
left processes behind, which still hold port and GPU memory.

How to confirm
--------------
`ss -ltnp | grep :29500` (or `lsof -i :29500`) shows who listens there. `nvidia-smi` shows whether old workers still
hold a GPU. `snellen explain --probe` asks whether the port is free here and now.

Fix
---
A second run on purpose: give it a port of its own, `torchrun --master-port 29501 ...`, or let it choose one,
`torchrun --standalone ...` or `--rdzv-backend c10d --rdzv-endpoint localhost:0`. Left over: end that process by its
number. In code: `os.environ["MASTER_PORT"]`, or the last part of `init_method="tcp://...:29501"`.

When it is something else
-------------------------
Processes that find the port and then do not come together are `nccl-timeout`. `Permission denied` for a port below
1024 is a privileged port: take one above.

Sources
-------
- torchrun, several runs on one machine: https://docs.pytorch.org/docs/stable/elastic/run.html
- torch.distributed, initialisation: https://docs.pytorch.org/docs/stable/distributed.html#initialization
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

from snellen.core.facts.machine import MachineFacts
from snellen.core.finding import Finding, Fix, Level
from snellen.core.log import Log, LogLine, LogMatch
from snellen.core.plan import Cost, NotApplicable, Plan
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, absent

__all__ = ["RULE"]

_TAKEN = re.compile(
    r"address already in use|\beaddrinuse\b|failed to listen on any local network address"
    r"|only one usage of each socket address|could not bind to port \d+|port \d+ is (?:already )?in use"
    r"|cannot find empty port in range",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"trying another|using port|instead|retry|trying port|next available", re.IGNORECASE)
_PORT = re.compile(
    r"port:? ?(?P<a>\d{2,5})\b|\]:(?P<b>\d{2,5})\b|(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|::):(?P<c>\d{2,5})\b"
    r"|port in range: ?(?P<d>\d{2,5})|master[_-]port[ =:\"']{1,3}(?P<e>\d{2,5})",
    re.IGNORECASE,
)
_DISTRIBUTED = re.compile(
    r"server socket|c10d|tcpstore|torchrun|torch[./]distributed|init_process_group|distnetworkerror|master_port"
    r"|torch\.multiprocessing|rendezvous|29500",
    re.IGNORECASE,
)
_PROGRAMS = (
    (re.compile(r"tensorboard", re.IGNORECASE), "TensorBoard", "tensorboard --logdir runs --port {port}"),
    (re.compile(r"gradio", re.IGNORECASE), "Gradio", "GRADIO_SERVER_PORT={port} python app.py"),
    (re.compile(r"streamlit", re.IGNORECASE), "Streamlit", "streamlit run app.py --server.port {port}"),
    (re.compile(r"jupyter|notebook", re.IGNORECASE), "Jupyter", "jupyter lab --port {port}"),
    (re.compile(r"visdom", re.IGNORECASE), "Visdom", "python -m visdom.server -port {port}"),
)


def _examine(log: Log) -> LogMatch | None:
    found = [line for line in log.find(_TAKEN.pattern) if not _GOES_ON.search(line.text)]
    if not found:
        return None
    failed = next((error for error in log.exceptions if _TAKEN.search(error.text)), None)
    first = failed is not None and not any(
        error.line < failed.line and not error.follows and not _TAKEN.search(error.text) for error in log.exceptions
    )
    if failed is None and log.exceptions:
        # Another error ended the program; a failed first attempt to bind is often followed by one that works.
        return None
    port = _port(log, found)
    distributed = any(_DISTRIBUTED.search(line.text) for line in found) or (
        failed is not None and any(_DISTRIBUTED.search(f"{frame.path} {frame.code}") for frame in failed.frames)
    )
    cause = f"Port {port} of this machine is taken by another process." if port else "The port is taken."
    evidence = tuple(dict.fromkeys(fact for fact in (failed.evidence if failed else None, found[0].evidence) if fact))
    score = 0.96 if first else 0.8 if failed is not None else 0.75
    return LogMatch(score, evidence, cause, _fix(log, port, distributed=distributed))


def _port(log: Log, found: list[LogLine]) -> int | None:
    for line in (*found, *log.find(r"master[_-]?port|tcp://")):
        match = _PORT.search(line.text)
        number = int(next(group for group in match.groups() if group)) if match else 0
        if 0 < number < 65536:
            return number
    return None


def _fix(log: Log, port: int | None, *, distributed: bool) -> Fix:
    other = port + 1 if port is not None and port < 65535 else 29501
    look = f"`ss -ltnp | grep :{port}`" if port else "`ss -ltnp`"
    if distributed:
        return Fix(
            f"A second run: `torchrun --master-port {other} ...`, or `torchrun --standalone ...`, which finds a free "
            f"port by itself. A run that crashed: {look} names the process that is left; end it by its number.",
            command=f"torchrun --master-port {other} train.py",
        )
    program = next(((name, command) for pattern, name, command in _PROGRAMS if log.search(pattern.pattern)), None)
    if program is not None:
        name, command = program
        return Fix(f"Start {name} on another port, or end the old one ({look}).", command=command.format(port=other))
    return Fix(f"Choose another port, for example {other}, or end the process that holds it ({look}).")


_BIND = """
import socket
with socket.socket() as listener:
    try:
        listener.bind(("", PORT))
        print("SNELLEN free")
    except OSError as error:
        print("SNELLEN", error.errno)
"""


def _probe(log: Log, here: Here) -> Answer:
    port = _port(log, list(log.find(_TAKEN.pattern)))
    if port is None:
        return Answer(Outcome.CANNOT_TELL, "the log does not say which port it was")
    found = re.search(r"SNELLEN (\w+)", here.python(_BIND.replace("PORT", str(port)), 20).output)
    if found is None:
        return Answer(Outcome.CANNOT_TELL, f"whether port {port} is free could not be tried here")
    if found[1] == "free":
        return Answer(Outcome.REFUTED, f"port {port} is free on this machine now")
    return Answer(Outcome.CONFIRMED, f"port {port} of this machine cannot be listened on (error {found[1]})")


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    machine: MachineFacts = plan.fact("machine")
    variables = plan.fact("environment").variables
    given = variables.get("MASTER_PORT", "")
    if not given.isdigit() or variables.get("RANK", "0") != "0":
        raise NotApplicable("no port is set by MASTER_PORT, so a free one is taken")
    devices = plan.settings.get("devices", "auto")
    if (devices if isinstance(devices, int) else machine.devices) < 2:
        raise NotApplicable("a run on one device opens no port")
    problem = _taken(int(given))
    if problem:
        yield Finding(
            "address-in-use",
            Level.ERROR,
            f"MASTER_PORT={given}, and that port cannot be listened on: {problem}",
            fix=Fix("Unset MASTER_PORT, or end the process that holds the port.", command=f"ss -ltnp | grep :{given}"),
        )


def _taken(port: int) -> str:
    with socket.socket() as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("", port))
        except (OSError, OverflowError) as error:
            return getattr(error, "strerror", None) or str(error)
    return ""


RULE = Rule(
    slug="address-in-use",
    family="environment",
    title="A port is already in use",
    level=Level.ERROR,
    log=LogFacet(
        (
            *("address already in use", "eaddrinuse", "local network address", "only one usage", "bind to port"),
            *("in use", "empty port"),
        ),
        _examine,
        _probe,
    ),
    source=absent("which ports are free is known on the machine only"),
    before=BeforeFacet(Cost.INSTANT, _examine_plan),
    during=absent("the exception comes before the first step"),
    module=__name__,
)
