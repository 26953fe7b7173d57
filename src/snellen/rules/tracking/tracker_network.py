"""The experiment tracker has no key, or cannot be reached, and the run stops or hangs with it.

What happens
------------
`wandb.errors.UsageError: api_key not configured (no-tty). call wandb.login(key=[your_api_key])` on a machine where
nobody can type; `wandb: Network error (ConnectionError), entering retry loop` and a run that stands still;
`wandb.errors.CommError: Run initialization has timed out after 90.0 sec`. MLflow: `API request to
http://localhost:5000/... failed with exception`. Comet: `Comet.ml requires an API key`. Visdom: `Connection refused` on
port 8097. The model and the data are fine.

Why
---
Trackers send to a server. A compute node without a way out, a firewall, a server that was not started, a wrong address,
a key that is missing, mistyped or of another account, a project that belongs to somebody else: each makes the first
call fail, which stands before the first step.

How to confirm
--------------
`curl -sI https://api.wandb.ai | head -1` on the machine that runs, and `wandb login --verify`. With
`WANDB_MODE=offline` (or the tracker switched off) the same command trains.

Fix
---
Log in once (`wandb login`), or set `WANDB_API_KEY` for the job. Without a network `WANDB_MODE=offline`, and `wandb sync
wandb/offline-run-*` afterwards from a machine that has one. Where it is not needed: `WANDB_MODE=disabled`,
`report_to="none"`, `yolo settings wandb=False`. MLflow without a server: `MLFLOW_TRACKING_URI=file:./mlruns`.

When it is something else
-------------------------
Weights or data sets that cannot be fetched are `hub-offline` and `hub-auth`. `wandb: Waiting for W&B process to
finish... (failed 1)` only says that the run failed: its reason stands above. `No module named 'wandb'` is
`missing-package`.

Sources
-------
- W&B, environment variables: https://docs.wandb.ai/guides/track/environment-variables
- W&B, offline runs: https://docs.wandb.ai/support/run_wandb_offline
- MLflow, tracking server: https://mlflow.org/docs/latest/tracking.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snellen.core.facts.places import TrackerFacts
from snellen.core.finding import Evidence, Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LoggedException, LogMatch
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import CallSite, Hit, SourceFile, Span

__all__ = ["RULE"]


@dataclass(frozen=True, slots=True)
class _Tracker:
    """One tracker: its name, what its failures read like, and the ways out."""

    name: str
    key: re.Pattern[str]
    network: re.Pattern[str]
    with_key: str
    without: str


_WANDB = _Tracker(
    "Weights & Biases",
    re.compile(
        r"api_key not configured|No API key configured|API key must (?:be 40|have 40)|WANDB_API_KEY invalid"
        r"|wandb\.errors\.(?:errors\.)?AuthenticationError|401[^\n]{0,80}wandb\.ai|permission denied to access"
        r"|Error while calling W&B API:[^\n]{0,200}|you do not have permission to access the requested resource"
        r"|wandb: ERROR[^\n]{0,60}(?:not logged in|Permission denied|entity)",
        re.IGNORECASE,
    ),
    re.compile(
        r"Network error \(\w+\), entering retry loop|wandb\.errors\.(?:errors\.)?CommError"
        r"|Run initialization has timed out|Timed out while creating the run|host='api\.wandb\.ai'"
        r"|Error communicating with (?:wandb process|backend)"
        r"|wandb: (?:W&B API|ERROR)[^\n]{0,80}(?:timed out|ConnectionError|connection refused)"
        r"|ServiceStart\w{1,20}Error|ManagerConnection\w{0,20}Error|Connection to wandb service failed"
    ),
    "`wandb login`, or `WANDB_API_KEY` in the job's environment",
    "`WANDB_MODE=offline`, and `wandb sync wandb/offline-run-*` later (`WANDB_MODE=disabled` where it is not needed)",
)
_TRACKERS = (
    _WANDB,
    _Tracker(
        "MLflow",
        re.compile(r"MlflowException: API request to [^\n]{0,200} failed with error code 40[13]"),
        re.compile(r"MlflowException: API request to|/api/2\.0/mlflow/[^\n]{0,200}(?:Caused by|refused|failed)"),
        "the user and the token of the server in `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`",
        "start the server (`mlflow server`), correct `MLFLOW_TRACKING_URI`, or `MLFLOW_TRACKING_URI=file:./mlruns`",
    ),
    _Tracker(
        "Comet",
        re.compile(
            r"Comet\.ml requires an API key|given api key [^\n]{0,80} is invalid|InvalidRestAPIKey", re.IGNORECASE
        ),
        re.compile(
            r"COMET ERROR: (?:Failed to|Run will not|Could not|We failed)|Failed to establish connection to Comet"
        ),
        "`comet login`, or `COMET_API_KEY` in the job's environment",
        "`comet_ml.OfflineExperiment` and `comet upload` later (`COMET_MODE=disabled` where it is not needed)",
    ),
    _Tracker(
        "Neptune",
        re.compile(r"NeptuneMissingApiToken|NeptuneInvalid(?:ApiToken|Credentials)|NeptuneUnauthorized"),
        re.compile(
            r"NeptuneConnectionLost|request to Neptune server failed|neptune[\w.]{0,60}\.(?:ConnectionLost|SSLError)"
        ),
        "`NEPTUNE_API_TOKEN` in the job's environment",
        '`neptune.init_run(mode="offline")`, and `neptune sync` later',
    ),
    _Tracker(
        "ClearML",
        re.compile(r"ClearML is not configured|clearml[\w.]{0,60}MissingConfigError|LoginError: Failed getting token"),
        re.compile(
            r"clearml[^\n]{0,120}(?:Max retries|Connection refused|could not verify credentials)", re.IGNORECASE
        ),
        "`clearml-init`",
        "`CLEARML_OFFLINE_MODE=1`",
    ),
    _Tracker(
        "Visdom",
        re.compile(r"(?!)"),
        re.compile(
            r"Visdom python client failed|Could not connect to Visdom|host='[\w.]{1,60}', port=8097"
            r"|[Vv]isdom[^\n]{0,80}refused"
        ),
        "",
        "start the server in another shell (`python -m visdom.server`), or switch the display off (`--display_id 0`)",
    ),
)
_OF_CONNECTION = re.compile(
    r"gaierror|ConnectionError|MaxRetryError|NewConnectionError|ConnectTimeout|ReadTimeout|TimeoutError|URLError|SSLError"
    r"|ConnectionRefused|ConnectionReset|BrokenPipe|HTTPError|ProxyError|RemoteDisconnected|KeyboardInterrupt|ProcessRaised"
)
_OF_TRACKER = re.compile(r"wandb|mlflow|comet|neptune|clearml|visdom|api_key", re.IGNORECASE)


def _examine_log(log: Log) -> LogMatch | None:
    for tracker in _TRACKERS:
        for pattern, needs_key in ((tracker.key, True), (tracker.network, False)):
            if said := find_message(log, pattern):
                return _match(log, said, tracker, needs_key=needs_key)
    return _waiting(log)


_ASKS = re.compile(r"wandb: Enter your choice:|wandb: Paste an API key from your profile and hit enter")


def _waiting(log: Log) -> LogMatch | None:
    """The log ends with a question that nobody answers."""
    last = next((line for line in reversed(log.lines) if line.text.strip()), None)
    if last is None or log.exceptions or not _ASKS.search(last.text):
        return None
    cause = f"{_WANDB.name} asks for a key, and nobody can type one here: the run waits for ever."
    return LogMatch(0.8, (last.evidence,), cause, Fix(f"Before the run: {_WANDB.with_key}. Else: {_WANDB.without}."))


def _match(log: Log, said: Message, tracker: _Tracker, *, needs_key: bool) -> LogMatch:
    # A tracker that goes on trying in the background does not end a run; another exception does.
    others = [e for e in log.exceptions if not (_OF_CONNECTION.search(e.type) or _OF_TRACKER.search(_about(e)))]
    facts, score = _with_failure(log, said), 0.95
    if others and said.error is None:
        score = 0.55
    elif said.error is not None and any(other.line > said.error.line for other in others):
        score = 0.75
    text = said.evidence.text
    if not needs_key:
        address = re.search(r"https?://[\w.:-]{1,100}|host='[\w.-]{1,100}'", text)
        where = f" ({address[0]})" if address else ""
        cause = f"{tracker.name}{where} cannot be reached from this machine, and the run waits for it or stops."
        return LogMatch(score, facts, cause, Fix(f"Without a network: {tracker.without}."))
    if "permission" in text.lower() or "entity" in text or "W&B API" in text:
        cause = f"The account that is logged in to {tracker.name} may not write to this project, or there is none."
        text = f"Name your own project (`entity`, `project`), or log in with its owner's account: {tracker.with_key}."
        fix = Fix(text)
        return LogMatch(score, facts, cause, fix)
    wrong = re.search(r"yours was (\d{1,4})|has (\d{1,4})\b|invalid|401", text, re.IGNORECASE)
    what = "The key is not valid" if wrong else f"No key for {tracker.name} is set, and nobody can type one here"
    fix = Fix(f"{tracker.with_key[0].upper()}{tracker.with_key[1:]}. Without an account: {tracker.without}.")
    return LogMatch(score, facts, f"{what}; {tracker.name} refuses the run.", fix)


def _with_failure(log: Log, said: Message) -> tuple[Evidence, ...]:
    """The tracker's line, and the failed connection that it is about."""
    failed = next((error for error in log.exceptions if _OF_CONNECTION.search(error.type)), None)
    return said.facts if said.error is not None or failed is None else (*said.facts, failed.evidence)


def _about(error: LoggedException) -> str:
    return f"{error.text} {' '.join(frame.path for frame in error.frames)}"


_ASK = (
    "import netrc, os, socket\n"
    "try: known = bool(netrc.netrc().authenticators('api.wandb.ai'))\n"
    "except (OSError, netrc.NetrcParseError): known = False\n"
    "print('key', bool(os.environ.get('WANDB_API_KEY')) or known)\n"
    "try: socket.create_connection(('api.wandb.ai', 443), 10).close(); print('net True')\n"
    "except OSError: print('net False')\n"
)


def _probe(log: Log, here: Here) -> Answer:
    if find_message(log, _WANDB.key) is None and find_message(log, _WANDB.network) is None:
        return Answer(Outcome.CANNOT_TELL, "only Weights & Biases can be asked for")
    ran = here.python(_ASK, seconds=30)
    key, net = (re.search(rf"{word} (True|False)", ran.output) for word in ("key", "net"))
    if key is None or net is None:
        return Answer(Outcome.CANNOT_TELL, "this Python did not answer")
    reached = "answers" if net[1] == "True" else "cannot be reached"
    text = f"{'a' if key[1] == 'True' else 'no'} key is set here, api.wandb.ai {reached}"
    fine = key[1] == net[1] == "True"
    return Answer(Outcome.REFUTED if fine else Outcome.CONFIRMED, text)


_KEY = re.compile(r"[0-9a-f]{40}|wandb_v\d_[\w-]{20,120}")
_PLACEHOLDER = re.compile(
    r"^(?:x{3,}|\.{3,}|\*{3,}|<[^>]*>|\[[^\]]*\]|(?:your|my|paste|insert|put|enter|add|replace)[\w -]*|api_?key|key)$"
    r"|your[_ -]?(?:wandb|api|comet|neptune)",
    re.IGNORECASE,
)
_TAKES_KEY = {
    "wandb.login": (2, "key"),
    "comet_ml.Experiment": (0, "api_key"),
    "comet_ml.start": (0, "api_key"),
    "comet_ml.init": (0, "api_key"),
    "comet_ml.login": (0, "api_key"),
    "neptune.init": (1, "api_token"),
    "neptune.init_run": (99, "api_token"),
    "neptune.new.init": (1, "api_token"),
}
_KEYS = re.compile(r"""environ\[["'](?:WANDB_API_KEY|COMET_API_KEY|NEPTUNE_API_TOKEN)["']\]$""")
_MODES = re.compile(
    r"""environ\[["'](?P<name>WANDB_MODE|WANDB_DISABLED|WANDB_PROJECT|WANDB_BASE_URL|WANDB_API_KEY)["']\]$"""
)
_LENGTH = 40
"""Characters of a W&B key, at least."""


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for call in file.calls:
        if call.name in _TAKES_KEY:
            key = call.argument(*_TAKES_KEY[call.name])
            if key is not None and isinstance(key.value, str) and key.code[:1] in "\"'":
                yield from _judge(file, key.value, key.span, wandb=call.name.startswith("wandb"))
    for item in file.assignments:
        if _KEYS.search(item.target) and isinstance(item.value, str) and item.code[:1] in "\"'":
            yield from _judge(file, item.value, item.span, wandb="WANDB" in item.target, own=True)
        late = _MODES.search(item.target)
        started = _started_before(file, item.span, item.function) if late and not item.conditions else None
        if late and started is not None:
            message = (
                f"{late['name']} is set after `wandb.init` in line {started.span.start_line} has read it: no effect"
            )
            yield Hit(message, item.span, Fix("Set it above `wandb.init`, or pass it there (`mode=`, `project=`)."))


def _judge(file: SourceFile, value: str, span: Span, *, wandb: bool, own: bool = False) -> Iterator[Hit]:
    if wandb and _KEY.fullmatch(value):
        message = "a W&B key in the source: whoever reads the file can use the account, and a revoked key stops the run"
        edits = (file.edit(span, 'os.environ["WANDB_API_KEY"]'),) if file.imports.get("os") == "os" and not own else ()
        safety = FixSafety.UNSAFE if edits else FixSafety.MANUAL
        text = "Revoke it, log in once with `wandb login`, or set WANDB_API_KEY where it runs."
        yield Hit(message, span, Fix(text, safety, "WANDB_API_KEY has to be set where the program runs", edits))
    elif _PLACEHOLDER.search(value) or (wandb and value and len(value) < _LENGTH):
        message = f"{value[:60]!r} is no key: the tracker refuses it"
        yield Hit(message, span, Fix("Leave it away: log in once, or set the key in the environment of the job."))


def _started_before(file: SourceFile, span: Span, function: str) -> CallSite | None:
    """The only `wandb.init` of the same function, when it stands above."""
    starts = [call for call in file.calls if call.name == "wandb.init"]
    if len(starts) != 1 or starts[0].function != function or starts[0].conditions or starts[0].in_loop:
        return None
    return starts[0] if starts[0].span.start < span.start else None


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    """A run writes its curves to its own folder first, so that it goes on; nobody sees them while it does."""
    facts: TrackerFacts = plan.fact("tracker")
    if not facts.problem:
        return
    yield Finding(
        "tracker-network",
        Level.WARNING,
        f"curves cannot be uploaded to {facts.address} while the run goes on: {facts.problem}",
        setting_place(plan, facts.key),
        (Evidence("the run keeps them in metrics.jsonl of its folder"),),
        Fix(f"{_way_out(facts.problem)} Or leave it: `snellen sync RUN` uploads them at any later time."),
    )


def _way_out(problem: str) -> str:
    if "not installed" in problem:
        return "`pip install 'snellen[wandb]'`."
    if "no key" in problem:
        return f"{_WANDB.with_key}."
    return "Look at the network of this machine, or set `WANDB_BASE_URL` to a server that it reaches."


RULE = Rule(
    slug="tracker-network",
    family="tracking",
    title="The experiment tracker cannot be reached, or has no key",
    level=Level.ERROR,
    log=LogFacet(
        (
            "wandb",
            "w&b",
            "api_key",
            "api key",
            "run initialization",
            "mlflow",
            "comet",
            "neptune",
            "clearml",
            "visdom",
            "port=8097",
        ),
        _examine_log,
        _probe,
    ),
    source=SourceFacet(("wandb", "comet_ml", "neptune"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("trackers are reached before the first step, and a step does not see them"),
    module=__name__,
)
