"""Weights are to be fetched from a hub that cannot be reached.

What happens
------------
`LocalEntryNotFoundError: An error happened while trying to locate the file on the Hub and we cannot find the requested
files in the local cache`, from transformers `OSError: We couldn't connect to 'https://huggingface.co' to load this
file`. torchvision and `torch.hub` print `urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>`
or `[SSL: CERTIFICATE_VERIFY_FAILED]` after `Downloading: "https://download.pytorch.org/..."`.

Why
---
`pretrained=True`, `from_pretrained` and `load_state_dict_from_url` fetch what is not in the cache, and this machine has
no way out: a compute node of a cluster, a Kaggle kernel without internet, a firewall, a proxy that Python is not told
of. A newer library may ask for the same weights under another name, so that a copied cache is not found. With
`HF_HUB_OFFLINE=1` or `local_files_only=True` nothing is fetched at all, and the file was never cached.

How to confirm
--------------
`curl -sI https://huggingface.co | head -1` on the machine that runs, and `hf cache ls` (or `ls ~/.cache/torch/hub`) for
what is there.

Fix
---
Fetch the file where there is a network (`hf download ORG/NAME`), copy the cache (`~/.cache/huggingface/hub`,
`~/.cache/torch/hub/checkpoints`) or the folder, and load it by its path with `HF_HUB_OFFLINE=1`. Behind a proxy set
`HTTPS_PROXY`; a mirror is named by `HF_ENDPOINT`. These variables are read when `huggingface_hub` is imported: set them
before Python starts, or above the first import.

When it is something else
-------------------------
`401`, `403` and `Cannot access gated repo` mean that the hub was reached: `hub-auth`. A path of your own that does not
exist is `missing-checkpoint`. W&B and other trackers that cannot be reached are `tracker-network`.

Sources
-------
- huggingface_hub, variables: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
- transformers, offline mode: https://huggingface.co/docs/transformers/installation#offline-mode
- `torch.hub`, where downloads lie: https://docs.pytorch.org/docs/stable/hub.html#where-are-my-downloaded-models-saved
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.facts.places import HubFacts
from snellen.core.finding import Evidence, Finding, Fix, Level, Location
from snellen.core.log import Log, LogMatch
from snellen.core.logs.hub import HOSTS, TRACKERS, repository, target_file
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, Import, SourceFile, Span

__all__ = ["RULE"]

_HUB = re.compile(
    r"LocalEntryNotFoundError|OfflineModeIsEnabled|We couldn't connect to ['\"]?https?://|offline mode is enabled"
    r"|cannot find the (?:requested files|appropriate (?:cached )?snapshot) (?:folder )?in the (?:local|disk) cache"
    r"|cannot find the requested files in the cached path|Couldn't reach https?://"
    r"|Cannot find (?:the requested files|an appropriate cached snapshot folder)|outgoing traffic has been disabled"
)
_OR_FOLDER = re.compile(r"Can't load [\w ]{3,30} for '[^'\n]{1,200}'\. If you were trying to load it from")
_LOCAL_ONLY = re.compile(
    r"outgoing traffic has been disabled|offline mode is enabled|local_files_only=True|HF_HUB_OFFLINE"
)
_OPENED = re.compile(
    r"urlopen error (?P<reason>[^\n>]{1,200})|CERTIFICATE_VERIFY_FAILED|Remote end closed connection without response"
)
_POOL = re.compile(
    r"HTTPS?ConnectionPool\(host=['\"](?P<host>[\w.-]{1,100})['\"][^\n]{0,300}?(?:Max retries exceeded|Read timed out)"
    r"|(?:Connection|Proxy|SSL|ConnectTimeout|ReadTimeout)Error[^\n]{0,200}['\"(]https?://(?P<other>[\w.-]{1,100})"
    r"|thrown while requesting (?:HEAD|GET) https?://(?P<head>[\w.-]{1,100})"
    r"|(?:ConnectError|ConnectTimeout): \[(?:Errno|WinError)[^\n]{0,200}"
)
_RESOLVED = re.compile(
    r"gaierror: |Temporary failure in name resolution|Network is unreachable|Name or service not known"
)
_FETCHES = re.compile(
    r"from_pretrained|load_state_dict_from_url|download_url_to_file|load_url\(|hf_hub_download|snapshot_download|gdown"
    r"|create_model|torch[/\\.]hub|huggingface_hub|get_state_dict|model_zoo|attempt_download|safe_download|_download\("
)
_REFUSED = re.compile(
    r"\b40[13] (?:Client Error|Forbidden)|GatedRepo|HTTP Error 40[13]|Repository Not Found|Unauthorized"
)
_WARNED = re.compile(r"Mapping deprecated model name (?P<old>[\w.]{1,120}) to current (?P<new>[\w.]{1,120})")
_KAGGLE = re.compile(r"/kaggle/")


def _examine_log(log: Log) -> LogMatch | None:
    if said := find_message(log, _HUB):
        # The hub answered, and said no: what follows is only that the file is not in the cache either.
        return None if log.search(_REFUSED.pattern, flags=re.NOFLAG) else _hub(log, said, 0.95)
    if said := find_message(log, _OR_FOLDER):
        return _hub(log, said, 0.6)
    said = find_message(log, _POOL)
    if said is not None and (score := _of_pool(said)):
        return _hub(log, said, score) if _is_hugging_face(said) else _url(log, said, score)
    return _unreached(log)


def _unreached(log: Log) -> LogMatch | None:
    """Messages that name no hub: the traceback has to tell what was fetched."""
    if said := find_message(log, _OPENED):
        if _is_tracker(said) or _refused_by_server(said):
            return None
        fetched = target_file(log) is not None or _FETCHES.search(_around(said)) is not None
        return _url(log, said, 0.9 if fetched else 0.7)
    said = find_message(log, _RESOLVED)
    if said is not None and not _is_tracker(said) and _FETCHES.search(_around(said)):
        return _hub(log, said, 0.8)
    return None


def _around(said: Message) -> str:
    """The message with the files and the code of its traceback."""
    frames = said.error.frames if said.error is not None else ()
    return " ".join([said.evidence.text, *(f"{frame.path} {frame.code}" for frame in frames)])


def _is_tracker(said: Message) -> bool:
    return TRACKERS.search(_around(said)) is not None


def _refused_by_server(said: Message) -> bool:
    return "HTTP Error" in said.evidence.text or "torch/distributed" in _around(said)


def _of_pool(said: Message) -> float:
    """How sure it is that this connection was to fetch weights."""
    host = next((part for part in said.match.groups() if part), "")
    if TRACKERS.search(said.evidence.text) or "/api/2.0/mlflow" in said.evidence.text:
        return 0.0
    if HOSTS.search(f" {host}"):
        return 0.93
    return 0.75 if _FETCHES.search(_around(said)) and not _is_tracker(said) else 0.0


def _is_hugging_face(said: Message) -> bool:
    return re.search(r"huggingface|hf-mirror|hf\.co", _around(said)) is not None


def _hub(log: Log, said: Message, score: float) -> LogMatch:
    renamed = next((found for line in log.lines if (found := _WARNED.search(line.text))), None)
    name = f"timm/{renamed['new'].rstrip('.')}" if renamed else repository(log)
    cached = f"`{name}` is" if name else "The weights are"
    why = "there is no connection to the hub"
    if log.search(_LOCAL_ONLY.pattern):
        why = "downloads are switched off (`HF_HUB_OFFLINE` or `local_files_only`)"
    cause = f"{cached} not in the cache, and {why}."
    if renamed:
        cause += f" A cache that was filled for {renamed['old']}, its former name, does not hold it."
    return LogMatch(score, said.facts, cause, Fix(_advice(log, name), command=f"hf download {name}" if name else None))


def _advice(log: Log, name: str | None) -> str:
    cache = f"~/.cache/huggingface/hub/models--{(name or 'ORG/NAME').replace('/', '--')}"
    fetch = f"`hf download {name or 'ORG/NAME'}` on a machine with a network, copy `{cache}` to the same place here"
    if any(_KAGGLE.search(line.text) for line in log.lines):
        return (
            f"Switch the notebook's internet on, or add the weights as a data set: {fetch}, and set `HF_HUB_OFFLINE=1`."
        )
    return f"{fetch}, and set `HF_HUB_OFFLINE=1`. `HF_ENDPOINT` names a mirror, `HTTPS_PROXY` a proxy."


def _url(log: Log, said: Message, score: float) -> LogMatch:
    target = target_file(log)
    certificate = "CERTIFICATE" in said.evidence.text
    what = f"`{target[0].rpartition('/')[2]}`" if target else "A file"
    reason = (said.match.groupdict().get("reason") or "").strip() or "the connection was closed"
    if certificate:
        cause = f"{what} cannot be fetched: Python does not trust the certificate that the server, or a proxy, shows."
        text = (
            "`pip install --upgrade certifi` and `SSL_CERT_FILE=$(python -m certifi)`; on a Mac run `Install "
            "Certificates.command` of this Python; behind a company's proxy add its certificate to that file."
        )
    else:
        cause = f"{what} is not in the cache and cannot be fetched: {reason}."
        text = "Give this machine a network (`HTTPS_PROXY` names a proxy)."
    if target:
        text += f" Or fetch {target[0]} elsewhere and put it at `{target[1]}`."
    return LogMatch(score, said.facts, cause, Fix(text))


_REACH = "import socket; socket.create_connection(({host!r}, 443), 10).close(); print('reached')"


def _probe(log: Log, here: Here) -> Answer:
    target = target_file(log)
    host = target[0].split("/")[2].partition(":")[0] if target else "huggingface.co"
    # Only hosts that are known to hold weights are asked.
    if not HOSTS.search(f" {host}"):
        return Answer(Outcome.CANNOT_TELL, f"{host} is not asked: it is no hub that is known")
    ran = here.python(_REACH.format(host=host), seconds=30)
    if "reached" in ran.output:
        return Answer(
            Outcome.REFUTED, f"{host} can be reached from here (a proxy or an offline switch could still refuse)"
        )
    return Answer(Outcome.CONFIRMED, f"{host} cannot be reached from here")


_READ_AT_IMPORT = frozenset(
    [
        *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE"),
        *("HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "HF_DATASETS_CACHE", "HF_HUB_ENABLE_HF_TRANSFER"),
    ]
)
_READERS = frozenset(
    ["huggingface_hub", "transformers", "diffusers", "datasets", "timm", "accelerate", "peft", "sentence_transformers"]
)
_VARIABLE = re.compile(r"""(?:^|\.)environ\[["'](?P<name>\w+)["']\]$""")
_MAGIC = re.compile(r"^(?:env|set_env)\s+(?P<name>\w+)[=\s]")


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for name, span in _settings(file):
        reader = _imported_before(file, span)
        if reader is not None:
            top = reader.module.partition(".")[0]
            message = f"{name} is set after `import {top}` in line {reader.line} has read it: it has no effect"
            fix = Fix(f"Set it above the first import of {top}, or in the shell: `export {name}=...`.")
            place = Location(file.path, reader.line)
            yield Hit(message, span, fix, (Evidence(f"imported in line {reader.line}", place),))


def _settings(file: SourceFile) -> Iterator[tuple[str, Span]]:
    """Places at the top level that set a variable which is read at import."""
    for item in file.assignments:
        found = _VARIABLE.search(item.target)
        if found and found["name"] in _READ_AT_IMPORT and not item.function:
            yield found["name"], item.span
    for call in file.calls_to("os.environ.setdefault", "os.putenv"):
        name = call.arguments[0].value if call.arguments else None
        if isinstance(name, str) and name in _READ_AT_IMPORT and not call.function:
            yield name, call.span
    for command in file.shell:
        found = _MAGIC.match(command.code) if command.mark == "%" else None
        if found and found["name"] in _READ_AT_IMPORT:
            yield found["name"], Span(command.line, 0, command.line, len(command.code) + 1)


def _imported_before(file: SourceFile, span: Span) -> Import | None:
    lines = file.text.splitlines()
    for item in file.imported:
        at_top = item.line <= len(lines) and lines[item.line - 1].startswith(("import ", "from "))
        if at_top and item.line < span.start_line and item.module.partition(".")[0] in _READERS:
            return item
    return None


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    hub: HubFacts = plan.fact("hub")
    if hub.cached or hub.reached:
        return
    where = setting_place(plan, hub.key)
    through = f" through the proxy {hub.proxy}" if hub.proxy else ""
    why = f"{hub.offline} forbids to ask for them" if hub.offline else f"{hub.endpoint}{through}: {hub.reason}"
    if "kaggle" in plan.fact("machine").surroundings:
        why += "; on Kaggle the switch Internet in the notebook's settings decides"
    unset = f"Unset {hub.offline}; or f" if hub.offline else "F"
    yield Finding(
        "hub-offline",
        Level.ERROR,
        f"the weights of {hub.wanted or 'the model'} are not in {hub.cache}, and cannot be fetched: {why}",
        where,
        fix=Fix(
            f"{unset}etch them where there is a network and copy the cache here (HF_HOME), name a mirror by "
            "HF_ENDPOINT, or give model.weights a file."
        ),
    )


RULE = Rule(
    slug="hub-offline",
    family="weights",
    title="The hub that weights come from cannot be reached",
    level=Level.ERROR,
    log=LogFacet(
        (
            "localentrynotfound",
            "offline",
            "cached path",
            "couldn't reach",
            "trying to load it from",
            "couldn't connect",
            "local cache",
            "disk cache",
            "outgoing traffic",
            "urlopen error",
            "certificate_verify_failed",
            "remote end closed",
            "max retries exceeded",
            "read timed out",
            "connectionerror",
            "proxyerror",
            "connecterror",
            "connecttimeout",
            "sslerror",
            "gaierror",
            "thrown while requesting",
            "name resolution",
            "network is unreachable",
            "service not known",
        ),
        _examine_log,
        _probe,
    ),
    source=SourceFacet(("HF_", "TRANSFORMERS_", "HUGGINGFACE_"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("weights are fetched before the first step"),
    module=__name__,
)
