"""`python -m isthmus_sandbox up`: serve the sandbox until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvloop

from isthmus_sandbox.serve import RunningSandbox, SandboxOptions, run_sandbox

DEFAULT_PORT_BASE = 8440


class AlreadyRunning(Exception):
    """Another sandbox has written the ready file and still serves."""


def main(arguments: Sequence[str] | None = None, *, next_step: str = "") -> int:
    """Parse the command line and serve. `next_step` is printed once the sandbox is up."""
    parser = argparse.ArgumentParser(
        prog="isthmus_sandbox", description="Simulated Microsoft Entra and Business Central."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="serve until interrupted")
    up.add_argument(
        "--world", default="cronus", help="ready-made data: cronus, large, messy or empty (default: cronus)"
    )
    up.add_argument(
        "--port-base",
        type=int,
        default=DEFAULT_PORT_BASE,
        help="first of four ports; 0 takes free ones (default: 8440)",
    )
    up.add_argument("--data", type=Path, default=None, help="folder for the certificates (default: a temporary one)")
    up.add_argument(
        "--ready-file", type=Path, default=None, help="write addresses and demo credentials here when ready"
    )
    options = parser.parse_args(arguments)
    chosen = SandboxOptions(world=options.world, port_base=options.port_base, data_dir=options.data)
    try:
        with _alone(options.ready_file):
            uvloop.run(_serve(chosen, options.ready_file, next_step))
    except AlreadyRunning as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The sandbox cannot start: {error}\n")
        return 1
    return 0


@contextlib.contextmanager
def _alone(ready_file: Path | None) -> Iterator[None]:
    """One sandbox for one ready file: it holds a lock beside it, and takes the file away at the end.

    The kernel lets go of the lock when a process is killed, so a file that was left behind hinders nobody.
    """
    if ready_file is None:
        yield
        return
    with ready_file.with_name(f"{ready_file.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyRunning(_already_running(ready_file)) from error
        ready_file.unlink(missing_ok=True)
        try:
            yield
        finally:
            ready_file.unlink(missing_ok=True)


def _already_running(ready_file: Path) -> str:
    try:
        where = f" at {json.loads(ready_file.read_text('utf-8'))['business_central_url']}"
    except (OSError, ValueError, KeyError):
        where = ""  # it is about to start, or about to end
    return f"A sandbox is already running for this folder{where}. Use that one, or stop it with Ctrl-C first."


async def _serve(options: SandboxOptions, ready_file: Path | None, next_step: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with run_sandbox(options) as sandbox:
        if ready_file is not None:
            _write_ready_file(ready_file, sandbox)
        sys.stdout.write(_greeting(sandbox, next_step))
        sys.stdout.flush()
        await stop.wait()


def _write_ready_file(path: Path, sandbox: RunningSandbox) -> None:
    """Write beside and rename, so that a waiting process never reads half a file."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(sandbox.summary(), indent=1), "utf-8")
    partial.replace(path)


def _greeting(sandbox: RunningSandbox, next_step: str) -> str:
    addresses = sandbox.addresses
    lines = ["The Isthmus sandbox is up. Nothing here reaches Microsoft.", ""]
    lines += [f"  {'sign-in, ' + cloud.replace('_', ' '):24} {url}" for cloud, url in addresses.login_urls.items()]
    lines += [
        f"  {'Business Central':24} {addresses.business_central_url}",
        f"  {'control, in a browser':24} {addresses.control_url}/",
        f"  {'certificate authority':24} {addresses.ca_file}",
        "",
        *([next_step, ""] if next_step else []),
        "Ctrl-C stops it.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
