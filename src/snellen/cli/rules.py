"""`snellen rules`: what is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snellen.errors import UsageError

if TYPE_CHECKING:
    from snellen.core.rule import Rule

__all__ = ["register"]

_EXAMPLES = """\b
Examples:
  snellen rules                          all rules, by family
  snellen rules list --family data       one family
  snellen rules show half-overflow       one page
  snellen rules new mask-values --family data   the files of a rule of your own
  snellen rules test mask-values         whether its page and its examples are in order

\b
A project's own rules lie in snellen_rules/ beside its pyproject.toml."""


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    group = typer.Typer(help="List the known failures, or show one.", epilog=_EXAMPLES, invoke_without_command=True)
    group.callback()(_default)
    group.command("list", epilog=_EXAMPLES)(list_rules)
    group.command("show", epilog=_EXAMPLES)(show)
    group.command("new", epilog=_EXAMPLES)(new)
    group.command("test", epilog=_EXAMPLES)(prove)
    app.add_typer(group, name="rules")


def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_rules()


def list_rules(
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the known failures."""
    from snellen.cli._output import print_json
    from snellen.rules.catalogue import broken, catalogue

    found = catalogue()
    families = sorted({rule.family for rule in found.values()})
    if family is not None and family not in families:
        raise UsageError(f"no family is called {family!r}", hint=f"expected one of {', '.join(families)}")
    wanted = [rule for rule in found.values() if family in (None, rule.family)]
    for problem in broken():
        typer.echo(f"snellen: a rule is left out: {problem}", err=True)
    if as_json:
        print_json({"rules": [_plain(rule) for rule in wanted]})
    else:
        typer.echo("\n".join(_table(wanted)))


def show(
    slug: Annotated[str, typer.Argument(help="The rule.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the page of one rule."""
    from snellen.cli._output import print_page
    from snellen.rules.catalogue import get

    print_page(get(slug), as_json=as_json)


def new(
    slug: Annotated[str, typer.Argument(help="Its name: the pattern, not the remedy.")],
    family: Annotated[str, typer.Option(help="The family that it belongs to.")] = "tasks",
) -> None:
    """Write the files of a new rule: the rule, an example of every kind, a test."""
    from snellen.authoring import scaffold

    for path in scaffold(slug, family, Path.cwd()):
        typer.echo(f"wrote {path.relative_to(Path.cwd())}")
    typer.echo(f"next: fill in the page and the facets, then snellen rules test {slug}")


def prove(
    slugs: Annotated[list[str] | None, typer.Argument(help="Rules; the project's own by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say whether rules are in order: page, reasons for gaps, examples that do what their names say."""
    from snellen.authoring import problems_of
    from snellen.authoring.scaffold import layout_of
    from snellen.cli._output import print_json
    from snellen.rules.catalogue import broken, catalogue, get
    from snellen.rules.project import FOLDER

    for problem in broken():
        typer.echo(f"snellen: a rule is left out: {problem}", err=True)
    own = [slug for slug, rule in catalogue().items() if rule.module.startswith(f"{FOLDER}.")]
    if not (slugs or own):
        raise UsageError("this project has no rules of its own", hint="snellen rules new mask-values --family data")
    found = {
        rule.slug: list(problems_of(rule, layout_of(Path.cwd(), rule.family).examples / rule.slug))
        for rule in map(get, slugs or own)
    }
    failed = bool(broken()) or any(found.values())
    if as_json:
        print_json({"rules": found, "left_out": broken()})
    else:
        for slug, problems in found.items():
            typer.echo(f"{slug}: {'in order' if not problems else ''}".rstrip())
            for problem in problems:
                typer.echo(f"  {problem}")
        typer.echo(
            "next: mend these, then the same command again"
            if failed
            else f"next: snellen rules show {next(iter(found))}"
        )
    if failed:
        raise typer.Exit(1)


def _plain(rule: Rule) -> dict[str, Any]:
    return {key: getattr(rule, key) for key in ("slug", "family", "title", "level", "moments")}


def _table(rules: list[Rule]) -> Iterator[str]:
    family = ""
    for rule in rules:
        if rule.family != family:
            family = rule.family
            yield f"\n{family}"
        yield f"  {rule.slug:<24} {rule.title:<58} {', '.join(rule.moments)}"
    yield f"\n{len(rules)} rules\nnext: snellen rules show {rules[0].slug if len(rules) == 1 else 'SLUG'}"
