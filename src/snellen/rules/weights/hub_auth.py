"""The hub refuses to hand out the weights: a gated or private repository, without the right token.

What happens
------------
`huggingface_hub.errors.GatedRepoError: 401 Client Error. Cannot access gated repo for url ... Access to model ... is
restricted`, from transformers `OSError: You are trying to access a gated repo`. `403 Forbidden: Please enable access to
public gated repositories in your fine-grained token settings`. For a private repository, and for a misspelt name,
`RepositoryNotFoundError: 401 Client Error. Repository Not Found`. Other hubs answer `HTTP Error 403`.

Why
---
The authors ask everybody to accept their conditions on the page of the model (FLUX, Stable Diffusion 3, MedGemma,
DINOv3), and the request must carry a token of an account that has done so. A container, a job or a notebook does not
have the token of your laptop; a fine-grained token lacks the permission; the code carries a token that was revoked.

How to confirm
--------------
`hf auth whoami` on the machine that runs says who is logged in. Open the model's page with that account: it shows the
files, or a form to ask for access.

Fix
---
Accept the conditions on the model's page, make a token with the right to read gated repositories, and give it to the
program: `hf auth login`, or `HF_TOKEN` in its environment (a secret of the container or the notebook, never a line of
the source).

When it is something else
-------------------------
The hub cannot be reached at all: `hub-offline`. `404 ... Entry Not Found` is a file that the repository does not have.
W&B, MLflow and others that ask for a key are `tracker-network`.

Sources
-------
- Hugging Face, gated models: https://huggingface.co/docs/hub/models-gated
- Hugging Face, tokens: https://huggingface.co/docs/hub/security-tokens
- huggingface_hub, authentication: https://huggingface.co/docs/huggingface_hub/quick-start#authentication
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from snellen.core.facts.places import HubFacts
from snellen.core.finding import Finding, Fix, FixSafety, Level
from snellen.core.log import Log, LogMatch
from snellen.core.logs.hub import TRACKERS, repository, target_file
from snellen.core.logs.messages import Message, find_message
from snellen.core.plan import Cost, NotApplicable, Plan, setting_place
from snellen.core.probe import Answer, Here, Outcome
from snellen.core.rule import BeforeFacet, LogFacet, Rule, SourceFacet, absent
from snellen.core.source import Hit, SourceFile, Span

__all__ = ["RULE"]

_HUGGING_FACE = r"https?://[\w.-]{0,40}(?:huggingface\.co|hf-mirror\.com|hf\.co)/"
_SAID = (
    (0.97, r"GatedRepoError|Cannot access gated repo|trying to access a gated repo|not in the authorized list"),
    (0.96, r"LocalTokenNotFoundError|Token is required \(`?token=True`?\)"),
    (0.96, r"Invalid user token|Invalid credentials in Authorization"),
    (0.95, r"enable access to public gated repositories|token has the correct permissions|fine-grained token settings"),
    (0.93, rf"40[13] (?:Client Error: )?(?:Unauthorized|Forbidden)[^\n]{{0,40}}url: {_HUGGING_FACE}"),
    (0.86, r"RepositoryNotFoundError\b|Repository Not Found for url"),
    (0.85, r"KaggleApiHTTPError: 40[13]|kagglehub[^\n]{0,200}40[13] (?:Client Error|Forbidden|Unauthorized)"),
    (
        0.75,
        rf"HTTP Error 403: rate limit exceeded|429 (?:Client Error: )?Too Many Requests[^\n]{{0,40}}{_HUGGING_FACE}",
    ),
    (0.6, r"is not a local folder and is not a valid model identifier listed on"),
    (0.6, r"Cannot retrieve the public link of the file|Access denied with the following error"),
    (0.55, r"HTTP Error 40[13]: (?:Forbidden|Unauthorized)"),
)
_MESSAGES = tuple((score, re.compile(text, re.MULTILINE)) for score, text in _SAID)
_IDENTIFIER = re.compile(r"(?P<name>\S{1,200}) is not a local folder and is not a valid model identifier")
_TOKEN_FORM = re.compile(r"fine-grained|correct permissions|enable access to public gated")
_INVALID = re.compile(r"Invalid user token|Invalid credentials|Invalid username or password")
_DRIVE = re.compile(r"Cannot retrieve the public link|Access denied with the following error")


def _examine_log(log: Log) -> LogMatch | None:
    for score, pattern in _MESSAGES:
        said = find_message(log, pattern)
        if said is None or TRACKERS.search(said.evidence.text):
            continue
        named = _IDENTIFIER.search(said.evidence.text)
        # `./checkpoints/sam` is a folder that does not exist, not a repository.
        if named and not re.fullmatch(r"['\"]?[\w.-]+/[\w.-]+['\"]?", named["name"]):
            continue
        return _match(log, said, score)
    return None


def _match(log: Log, said: Message, score: float) -> LogMatch:
    if score <= _WEAK:
        return LogMatch(score, said.facts, *_elsewhere(log, said))
    name, text = repository(log), said.evidence.text
    what, page = _named(name)
    login = "`hf auth login` on this machine, or `HF_TOKEN` in the program's environment"
    if _TOKEN_FORM.search(text):
        cause = f"The token that is used lacks the right to read gated repositories, which {what} asks for."
        fix = Fix(f"Allow it in the token's settings ({_TOKENS}), or use a token of type Read.")
    elif _INVALID.search(text):
        cause = "The token that is used is not valid: mistyped, revoked or expired."
        fix = Fix(f"Make a new one ({_TOKENS}), then {login}.", command="hf auth login")
    elif "Not Found" in text or "NotFound" in text:
        cause = (
            f"The hub shows no {what}: the name is misspelt, or it is private and the request carries no right token."
        )
        fix = Fix(f"Open {page} in a browser. If it is there for your account: {login}.", command="hf auth login")
    else:
        cause = f"The authors of {what} ask for their conditions to be accepted; the request is of no account that has."
        fix = Fix(f"Accept them at {page}, then {login}.", command="hf auth login")
    return LogMatch(score, said.facts, cause, fix)


_WEAK = 0.75
"""Messages at or below this score are of other hubs, or have other causes as well."""
_TOKENS = "https://huggingface.co/settings/tokens"


def _named(name: str | None) -> tuple[str, str]:
    return (f"`{name}`", f"https://huggingface.co/{name}") if name else ("the repository", "the model's page")


def _elsewhere(log: Log, said: Message) -> tuple[str, Fix]:
    """The weaker messages, and hubs other than Hugging Face."""
    text, target = said.evidence.text, target_file(log)
    if "429" in text or "rate limit" in text:
        token = "GITHUB_TOKEN" if "rate limit" in text else "HF_TOKEN"
        cause = "The server limits how often it may be asked without an account."
        return cause, Fix(f"Set `{token}`, or wait an hour; afterwards load from the cache.")
    if _DRIVE.search(text):
        cause = "Google Drive does not hand the file out: not shared with everybody, or fetched too often today."
        return cause, Fix("Open the link in a browser, download it there, and put it where the program looks for it.")
    if _IDENTIFIER.search(text):
        what, page = _named(repository(log))
        cause = (
            f"The hub shows no {what}: the name is misspelt, the repository is private, or a folder is missing here."
        )
        return cause, Fix(f"Open {page}; if it is private: `hf auth login`. If you mean a folder, give its path.")
    url = target[0] if target else "the file"
    fix = Fix(f"Open {url} in a browser; if it moved, upgrade the library, or give the weights by their path.")
    return f"The server refuses to hand out {url}.", fix


_WHO = "from huggingface_hub import get_token; print('token', bool(get_token()))"


def _probe(_log: Log, here: Here) -> Answer:
    ran = here.python(_WHO)
    found = re.search(r"token (True|False)", ran.output)
    if found is None:
        return Answer(Outcome.CANNOT_TELL, "huggingface_hub is not installed here, so it cannot be asked for a token")
    if found[1] == "False":
        return Answer(Outcome.CONFIRMED, "this Python finds no Hugging Face token, in the environment or after a login")
    return Answer(Outcome.CANNOT_TELL, "there is a token here; whether its account has access only the hub knows")


_TOKEN = re.compile(r"hf_[A-Za-z0-9]{20,60}")
_PLACEHOLDER = re.compile(
    r"^(?:hf_)?(?:x{3,}|\.{3,}|<[^>]*>|\[[^\]]*\]|(?:your|my|paste|insert|put|enter|add|replace)[\w -]*|token)$"
    r"|(?i:your[_ -]?(?:hf|hugging|access|token))|^hf_\.*$|^hf_x+$",
    re.IGNORECASE,
)
_ARGUMENTS = frozenset({"token", "use_auth_token", "auth_token", "hf_token", "api_token"})
_VARIABLE = re.compile(
    r"""environ\[["'](?:HF_TOKEN|HUGGING_FACE_HUB_TOKEN|HUGGINGFACE_TOKEN|HUGGINGFACEHUB_API_TOKEN)["']\]$"""
)
_OF_HUB = re.compile(
    r"^huggingface_hub\.|\.from_pretrained$|^(?:transformers|diffusers|datasets)\.|hf_hub_download|snapshot_download"
    r"|\.push_to_hub$"
)


def _examine_source(file: SourceFile) -> Iterator[Hit]:
    for item in file.assignments:
        if isinstance(item.value, str) and item.code[:1] in "\"'" and item.code:
            of_hub = _VARIABLE.search(item.target) is not None
            yield from _judge(file, item.value, item.span, placeholder=of_hub, own=of_hub)
    for call in file.calls:
        if not _OF_HUB.search(call.name):
            continue
        login = call.name == "huggingface_hub.login"
        for position, argument in enumerate(call.arguments):
            named = argument.name in _ARGUMENTS or (login and position == 0 and argument.name is None)
            if named and isinstance(argument.value, str) and argument.code[:1] in "\"'":
                yield from _judge(file, argument.value, argument.span, placeholder=True)


def _judge(file: SourceFile, value: str, span: Span, *, placeholder: bool, own: bool = False) -> Iterator[Hit]:
    """A token in the text, or what stands for one that was never put in."""
    if _TOKEN.fullmatch(value) and not re.fullmatch(r"hf_x+", value, re.IGNORECASE):
        message = "a Hugging Face token in the source: whoever reads the file has it, and the hub revokes what it finds"
        text = 'Revoke it, and read it from the environment: `os.environ["HF_TOKEN"]`.'
        edits = (file.edit(span, 'os.environ["HF_TOKEN"]'),) if file.imports.get("os") == "os" and not own else ()
        reason = "HF_TOKEN has to be set where the program runs"
        yield Hit(message, span, Fix(text, FixSafety.UNSAFE if edits else FixSafety.MANUAL, reason, edits))
    elif placeholder and _PLACEHOLDER.search(value):
        message = f"{value!r} stands for a token and is none: the hub answers 401"
        yield Hit(
            message,
            span,
            Fix("Leave it away and log in once with `hf auth login`, or set HF_TOKEN in the environment."),
        )


_GATED = re.compile(
    r"dinov3|(?:^|/)sam3|facebook/sam-3|llama|paligemma|gemma-\d|FLUX\.1-dev|stable-diffusion-3|shieldgemma",
    re.IGNORECASE,
)
"""Models whose page asks to accept a licence first."""


def _examine_plan(plan: Plan) -> Iterator[Finding]:
    hub: HubFacts = plan.fact("hub")
    if not _GATED.search(hub.wanted) or hub.wanted.startswith("timm/"):
        raise NotApplicable(f"{hub.wanted or 'the model'} is not known to ask for a licence")
    if hub.cached or hub.token:
        return
    yield Finding(
        "hub-auth",
        Level.ERROR,
        f"the weights of {hub.wanted} are given only to those who accepted their licence, and there is no token here",
        setting_place(plan, hub.key),
        fix=Fix("Accept the licence on the model's page, then `hf auth login`.", command="hf auth login"),
    )


RULE = Rule(
    slug="hub-auth",
    family="weights",
    title="The hub refuses access to the weights",
    level=Level.ERROR,
    log=LogFacet(
        (
            "gated",
            "401",
            "403",
            "429",
            "repositorynotfound",
            "repository not found",
            "tokennotfound",
            "token is required",
            "invalid user token",
            "invalid credentials",
            "valid model identifier",
            "public link",
            "access denied",
            "fine-grained token",
        ),
        _examine_log,
        _probe,
    ),
    source=SourceFacet(("hf_", "token", "TOKEN"), _examine_source),
    before=BeforeFacet(Cost.SECONDS, _examine_plan),
    during=absent("weights are fetched before the first step"),
    module=__name__,
)
