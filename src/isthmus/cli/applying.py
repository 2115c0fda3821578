"""`apply`, `plan`, `validate`: a project as a file. What is written is checked in full before anything is changed."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.markup import escape

from isthmus.cli.interactive import waiting
from isthmus.cli.named import given
from isthmus.cli.options import Home, Json
from isthmus.cli.output import counted, err, out, print_json, say
from isthmus.cli.running import confirm, hub, run

if TYPE_CHECKING:
    from isthmus.configuration import Loaded, Mistaken, Outcome, Plan, Shown, Step

T = TypeVar("T")

MISTAKEN = 2
"""Exit code: what stands in the file cannot be used."""


FileName = Annotated[str, typer.Argument(metavar="FILE", help="The project's file.")]
Destroy = Annotated[
    bool, typer.Option("--destroy", help="Also do what loses something: remove things that the file does not name.")
]

_STYLES = {"+": "green", "~": "yellow", "−": "red"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("validate")(validate)
    app.command("plan")(plan)
    app.command("apply")(apply)


def validate(
    file: FileName = "isthmus.yaml",
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema for editors instead.")] = False,
    as_json: Json = False,
) -> None:
    """Check isthmus.yaml by itself: no database, no vendor, and no secret is needed."""
    from isthmus.configuration import Mistaken, json_schema, load

    if schema:
        print_json(json_schema())
        return
    try:
        loaded = load(Path(given(file, "file")), os.environ, lenient=True)
    except Mistaken as mistaken:
        raise _told(mistaken, as_json=as_json) from mistaken
    if as_json:
        print_json({"file": loaded.name, "mistakes": [], "missing": list(loaded.missing)})
        return
    say(f"[green]✓[/] {escape(loaded.name)} is well-formed.")
    for name in loaded.missing:
        say(f"  [yellow]![/] {escape(name)} is not set here; `isthmus apply` will need it.")
    say("Next: `isthmus plan` compares it with the project.")


def plan(
    file: FileName = "isthmus.yaml",
    destroy: Destroy = False,
    check: Annotated[bool, typer.Option("--check", help="End with exit code 1 when there is something to do.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show what `isthmus apply` would do, and what that would lose. Nothing is changed."""

    async def work() -> bool:
        from isthmus.configuration import load
        from isthmus.configuration import plan as compared

        loaded = load(Path(given(file, "file")), os.environ)
        async with hub(home) as opened:
            with waiting():
                found = await compared(opened, loaded)
        if as_json:
            print_json({"file": loaded.name, "project": opened.project.name, **found.plain()})
        else:
            _print_plan(found, opened.project.name, destroy=destroy)
        return bool(found.steps)

    if _with_mistakes(work, as_json=as_json) and check:
        raise typer.Exit(1)


def apply(
    file: FileName = "isthmus.yaml",
    destroy: Destroy = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before something is lost.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make the project what isthmus.yaml says. Applying twice changes nothing."""

    async def work() -> None:
        from isthmus.configuration import Outcome, load, serialised
        from isthmus.configuration import apply as carried_out
        from isthmus.configuration import plan as compared

        loaded = load(Path(given(file, "file")), os.environ)
        outcome = Outcome()
        async with hub(home) as opened, serialised(opened):
            with waiting():
                found = await compared(opened, loaded)
            for remark in () if as_json else found.remarks:
                say(f"[yellow]![/] {escape(remark)}")
            if destroy:
                _ask_before_loss(found, opened.project.name, yes=yes, as_json=as_json)
            try:
                await carried_out(
                    opened,
                    found,
                    destroy=destroy,
                    on_step=None if as_json else _tell_step,
                    outcome=outcome,
                )
            except BaseException:
                _tell_broken_off(outcome, found, as_json=as_json)
                raise
        if as_json:
            print_json(_outcome_plain(loaded, opened.project.name, outcome))
            return
        _tell_end(loaded, opened.project.name, outcome)

    _with_mistakes(work, as_json=as_json)


def _with_mistakes(work: Callable[[], Awaitable[T]], *, as_json: bool) -> T:
    from isthmus.configuration import Mistaken

    try:
        return run(work)
    except Mistaken as mistaken:
        raise _told(mistaken, as_json=as_json) from mistaken


def _told(mistaken: Mistaken, *, as_json: bool) -> typer.Exit:
    """Every mistake with its line; the exit that follows."""
    if as_json:
        print_json(
            {
                "file": mistaken.name,
                "mistakes": [
                    {
                        "line": each.spot.line,
                        "column": each.spot.column,
                        "message": each.message,
                        "nearest": list(each.nearest),
                        "remedy": each.remedy,
                    }
                    for each in mistaken.mistakes
                ],
            }
        )
        return typer.Exit(MISTAKEN)
    console = err()
    for each in mistaken.mistakes:
        console.print(f"[bold red]✗[/] {escape(mistaken.drawn(each))}", soft_wrap=True)
    count = len(mistaken.mistakes)
    console.print(f"{counted(count, 'mistake')} in {escape(mistaken.name)}. Nothing was changed.")
    return typer.Exit(MISTAKEN)


def _print_plan(found: Plan, project: str, *, destroy: bool) -> None:
    for remark in found.remarks:
        say(f"[yellow]![/] {escape(remark)}")
    if not found.steps:
        say(f"[green]✓[/] Project {escape(project)} is as the file says. Nothing to do.")
        return
    refused, kept = found.refused(destroy=destroy), found.kept(destroy=destroy)
    for step in found.steps:
        _print_step(step, note="stays without --destroy" if step in kept else None)
    counts = {sign: sum(step.sign == sign for step in found.chosen(destroy=destroy)) for sign in _STYLES}
    summary = f"{counts['+']} to add, {counts['~']} to change, {counts['−']} to remove"
    say(f"{summary} in project {escape(project)}.")
    if refused:
        say(f"[yellow]![/] {counted(len(refused), 'change')} would lose something; `isthmus apply` wants --destroy.")
    if kept:
        say(f"{counted(len(kept), 'thing')} that the file does not name would stay; --destroy removes them.")


def _print_step(step: Step, *, note: str | None = None) -> None:
    console = out()
    style = _STYLES[step.sign.value]
    tail = f"  [dim]({note})[/]" if note else ""
    console.print(f"[{style}]{step.sign.value}[/] {step.kind} [bold]{escape(step.name)}[/]{tail}", soft_wrap=True)
    for each in step.differences:
        before = "" if step.sign.value == "+" else f"{escape(each.before or 'none')} → "
        console.print(f"    {each.name}: {before}{escape(each.after or 'none')}", soft_wrap=True)
    if step.loses is not None:
        console.print(f"    [red]loses {escape(step.loses)}[/]", soft_wrap=True)


async def _tell_step(step: Step, shown: Sequence[Shown]) -> None:
    _print_step(step)
    _print_shown(shown)


def _ask_before_loss(found: Plan, project: str, *, yes: bool, as_json: bool) -> None:
    losing = [step for step in found.steps if step.destructive]
    if losing and not yes:
        for step in () if as_json else losing:
            _print_step(step)
        confirm(f"{counted(len(losing), 'step')} lose what is named above.", project, yes=False)


def _tell_broken_off(outcome: Outcome, found: Plan, *, as_json: bool) -> None:
    """What a failure leaves behind: secrets that were made must not be lost with it."""
    if as_json:  # stdout is for the failure; a secret that was made must not be lost with it
        for each in outcome.shown:
            say(f"{escape(each.label)}: {each.value}")
    if outcome.done:
        say(f"Broken off: {len(outcome.done)} of {counted(len(found.steps), 'step')} are done; apply again to go on.")


def _print_shown(shown: Sequence[Shown]) -> None:
    for each in shown:
        say(f"    {escape(each.label)}:")
        print(each.value, flush=True)


def _tell_end(loaded: Loaded, project: str, outcome: Outcome) -> None:
    if outcome.done:
        say(f"[green]✓[/] {counted(len(outcome.done), 'change')} made. Project {escape(project)} is as the file says.")
    else:
        say(f"[green]✓[/] Nothing to change: project {escape(project)} is as {escape(loaded.name)} says.")
    if outcome.kept:
        names = ", ".join(f"{step.kind} {step.name}" for step in outcome.kept[:5])
        more = f" and {len(outcome.kept) - 5} more" if len(outcome.kept) > 5 else ""
        say(f"  [yellow]![/] Not in the file, and kept: {escape(names)}{more}. --destroy removes them.")


def _outcome_plain(loaded: Loaded, project: str, outcome: Outcome) -> dict[str, Any]:
    return {
        "file": loaded.name,
        "project": project,
        "changed": len(outcome.done),
        "done": _plain(outcome.done),
        "kept": _plain(outcome.kept),
        "shown_once": [{"label": each.label, "value": each.value} for each in outcome.shown],
    }


def _plain(steps: Iterable[Step]) -> list[dict[str, Any]]:
    return [step.plain() for step in steps]
