"""`python -m isthmus_sandbox up`: serve the sandbox until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from isthmus_sandbox.serve import RunningSandbox, SandboxOptions, run_sandbox

DEFAULT_PORT_BASE = 8440


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and serve."""
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
        uvloop.run(_serve(chosen, options.ready_file))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"The sandbox cannot start: {error}\n")
        return 1
    return 0


async def _serve(options: SandboxOptions, ready_file: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with run_sandbox(options) as sandbox:
        if ready_file is not None:
            _write_ready_file(ready_file, sandbox)
        sys.stdout.write(_greeting(sandbox))
        sys.stdout.flush()
        await stop.wait()


def _write_ready_file(path: Path, sandbox: RunningSandbox) -> None:
    """Write beside and rename, so that a waiting process never reads half a file."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(sandbox.summary(), indent=1), "utf-8")
    partial.replace(path)


def _greeting(sandbox: RunningSandbox) -> str:
    addresses = sandbox.addresses
    lines = ["The Isthmus sandbox is up. Nothing here reaches Microsoft.", ""]
    lines += [f"  {'sign-in, ' + cloud.replace('_', ' '):24} {url}" for cloud, url in addresses.login_urls.items()]
    lines += [
        f"  {'Business Central':24} {addresses.business_central_url}",
        f"  {'control, in a browser':24} {addresses.control_url}/",
        f"  {'certificate authority':24} {addresses.ca_file}",
        "",
        "Ctrl-C stops it.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
