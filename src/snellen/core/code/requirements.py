"""What a file installs: pip and conda commands in notebooks and scripts, and the lists of environment files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from snellen.core.calls import CallSite, Span
from snellen.core.finding import Edit
from snellen.core.source import SourceFile

__all__ = ["Installation", "Requirement", "installations", "pins"]

_RUNNERS = (
    *("os.system", "os.popen", "subprocess.run", "subprocess.call", "subprocess.check_call"),
    *("subprocess.check_output", "subprocess.Popen", "subprocess.getoutput", "pip.main", "pip._internal.main"),
)
_QUOTED = re.compile(r"""["']([^"'\n]{1,400})["']""")
_REQUIREMENT = re.compile(
    r"(?:[\w.-]{1,60}::)?(?P<name>[A-Za-z][\w.-]{0,100})(?:\[[\w,.-]{0,100}\])?\s{0,4}(?P<specifier>(?:[=<>!~][^;@]{0,100})?)"
    r"(?:[;@].{0,200})?"
)
_PINNED = re.compile(r"^={1,3}\s*(?P<version>\d[\w.+]*)(?:=[\w.*]+)?$")
_WITH_VALUE = frozenset(
    [
        *("-f", "--find-links", "-i", "--index-url", "--extra-index-url", "-r", "--requirement", "-c", "--channel"),
        *("--constraint", "-t", "--target", "-n", "--name", "-p", "--prefix", "--python", "--timeout", "--no-binary"),
        *("--only-binary", "--platform", "--python-version", "--cache-dir", "--proxy", "--trusted-host", "-e"),
    ]
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One package that is asked for.

    Args:
        name: As written, in lower case, with `-` for `_`.
        code: As written, with its version.
        specifier: What follows the name: `==2.0.1`, `<2`, or nothing.
        span: Where it stands; in a notebook's command the whole line.
    """

    name: str
    code: str
    specifier: str
    span: Span

    @property
    def version(self) -> str | None:
        """The one version that is asked for.

        Example:
            >>> Requirement("torch", "torch==2.0.1", "==2.0.1", Span(1, 0, 1, 12)).version
            '2.0.1'
        """
        found = _PINNED.match(self.specifier.strip())
        return found["version"] if found and not found["version"].endswith(".") else None


@dataclass(frozen=True, slots=True)
class Installation:
    """One command, or one list of an environment file.

    Args:
        tool: `pip` or `conda`.
        text: The command; `""` for a list.
        span: Where it stands.
        requirements: The packages.
        options: Everything else of the command, such as `--index-url` and what follows it.
        code: The call that runs it, as written; `""` in a notebook's command and in a list.
        exact: Whether each requirement's span is its own text, as in a list.
    """

    tool: str
    text: str
    span: Span
    requirements: tuple[Requirement, ...]
    options: tuple[str, ...] = ()
    code: str = ""
    exact: bool = False

    def edits(self, file: SourceFile, item: Requirement, new: str) -> tuple[Edit, ...]:
        """What writes another requirement in the place of one, as far as the text can be edited."""
        if self.exact:
            return (file.edit(item.span, new),)
        written = re.compile(rf"(?<![\w.-]){re.escape(item.code)}(?![\w.-])")
        if len(written.findall(self.code)) != 1:
            return ()
        return (file.edit(self.span, written.sub(lambda _: new, self.code)),)


def installations(file: SourceFile) -> Iterator[Installation]:
    """Everything that a file installs, in the order of the text."""
    for command in file.shell:
        span = Span(command.line, 0, command.line, len(command.code) + 1)
        yield from _commands(command.code, span)
    for call in file.calls_to(*_RUNNERS):
        for text in _texts(call):
            yield from _commands(text, call.span, call.code)
    yield from _listed(file)


def pins(file: SourceFile) -> dict[str, Requirement]:
    """The last version that a file asks for of each package; one that is asked for without a version counts as well."""
    return {item.name: item for found in installations(file) for item in found.requirements}


def _texts(call: CallSite) -> list[str]:
    """The command of a call, `""` when it is put together from what the source does not settle."""
    if not call.arguments:
        return []
    first = call.arguments[0]
    if isinstance(first.value, str):
        return [first.value]
    words = _QUOTED.findall(first.code)
    if first.code.startswith(("[", "(")):
        return [shlex.join(["pip", *words] if call.name.startswith("pip") else words)]
    # An f-string such as f"{sys.executable} -m pip install torch==2.0.1".
    return words if first.code.startswith(("f'", 'f"')) else []


def _commands(text: str, span: Span, code: str = "") -> Iterator[Installation]:
    for part in re.split(r"&&|\|\||[;|\n]", text):
        try:
            words = shlex.split(part, comments=True)
        except ValueError:
            words = part.split()
        start = next((n for n, word in enumerate(words) if word == "install"), None)
        tool = _tool(words[:start]) if start is not None else None
        if tool is not None and start is not None:
            yield replace(_installation(tool, part.strip(), words[start + 1 :], span), code=code)


_STARTS = re.compile(
    r"(?:.{0,200}[/\\])?(?P<tool>pip|conda|mamba|micromamba|uv|python)[\d.]*(?:\.exe)?|(?P<other>-m|\{.*)"
)


def _tool(words: Sequence[str]) -> str | None:
    """What a command that installs is started with."""
    plain = [word for word in words if word != "sudo" and not re.fullmatch(r"\w+=.*", word)]
    start = _STARTS.fullmatch(plain[0]) if plain else None
    if start is None:
        return None
    if start["tool"] in ("conda", "mamba", "micromamba"):
        return "conda"
    return "pip" if start["tool"] == "pip" or "pip" in plain else None


def _installation(tool: str, text: str, words: Sequence[str], span: Span) -> Installation:
    packages: list[Requirement] = []
    options: list[str] = []
    after: str | None = None
    for word in words:
        if after is not None or word.startswith("-"):
            options.append(word)
            after = word if after is None and word in _WITH_VALUE else None
        elif requirement := _requirement(word, span):
            packages.append(requirement)
    return Installation(tool, text, span, tuple(packages), tuple(options))


def _requirement(text: str, span: Span) -> Requirement | None:
    found = _REQUIREMENT.fullmatch(text.strip())
    if found is None or "/" in text or text.endswith((".whl", ".txt", ".gz")):
        return None
    name = found["name"].lower().replace("_", "-")
    return Requirement(name, text.strip(), found["specifier"].strip(), span)


def _listed(file: SourceFile) -> Iterator[Installation]:
    """The lists of a conda environment file."""
    by_tool: dict[str, list[Requirement]] = {}
    for setting in file.settings:
        place = re.fullmatch(r"dependencies\.\d+(?P<pip>\.pip\.\d+)?", setting.key)
        if place and isinstance(setting.value, str) and (found := _requirement(setting.value, setting.span)):
            by_tool.setdefault("pip" if place["pip"] else "conda", []).append(found)
    for tool, listed in by_tool.items():
        yield Installation(tool, "", listed[0].span, tuple(listed), exact=True)
