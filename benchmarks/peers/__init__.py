"""The same pages through other tools, each in a virtual environment of its own under `benchmarks/.venvs`.

A peer is a requirements file with pinned versions and a script that reads the page server's customers into the kind of
target that the tool offers, and prints JSON: records, seconds. It is made when it is asked for, from the registries;
what cannot be installed is said and left out.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import venv
from pathlib import Path
from typing import Final

import msgspec

from benchmarks import bare
from benchmarks.samples import Measure, ratio
from benchmarks.servers import PageServer, page_server
from benchmarks.setting import Setting, expect, timed

PEERS: Final = {
    "dlt": "dlt, into Parquet files",
    "singer": "singer-sdk, into JSON lines",
    "airbyte": "airbyte-cdk, into JSON lines",
}
INSTALL_TIMEOUT_S: Final = 600.0
RUN_TIMEOUT_S: Final = 900.0

_HERE: Final = Path(__file__).parent
_VENVS: Final = _HERE.parent / ".venvs"


class _Report(msgspec.Struct, frozen=True):
    records: int
    seconds: float


async def measure_peers(setting: Setting) -> tuple[list[Measure], list[str]]:
    """Each peer in turns with the bare loop, and who was left out.

    A peer's seconds are its own: start-up and imports do not count.
    """
    measures: list[Measure] = []
    left_out: list[str] = []
    async with page_server(setting.records, page_records=setting.page_records) as server:
        for name, title in PEERS.items():
            try:
                python = await _installed(name, setting)
                measures.append(await _measure(name, title, python, server, setting))
            except (RuntimeError, OSError, TimeoutError) as error:
                left_out.append(f"{name} is left out: {error}")
                setting.tell(left_out[-1])
    return measures, left_out


async def _measure(name: str, title: str, python: Path, server: PageServer, setting: Setting) -> Measure:
    bare_s: list[float] = []
    peer_s: list[float] = []
    for _ in range(setting.rounds):
        bare_s.append(await timed(lambda: bare.one_by_one(server)))
        with tempfile.TemporaryDirectory(prefix="isthmus-peer-") as folder:
            printed = await _answer(
                [str(python), str(_HERE / f"{name}_reads.py"), server.customers_url, folder], RUN_TIMEOUT_S
            )
        report = msgspec.json.decode(printed.splitlines()[-1], type=_Report)
        expect(report.records, server.records, f"records read by {name}")
        peer_s.append(report.seconds)
        setting.tell(f"{name}: {report.seconds:.1f} s")
    return ratio(title, bare_s, peer_s, note="peer")


async def _installed(name: str, setting: Setting) -> Path:
    """The peer's Python, in an environment that matches its requirements file. Raises RuntimeError."""
    folder = _VENVS / name
    python = folder / "bin" / "python"
    wanted = (_HERE / f"{name}.txt").read_bytes()
    stamp = folder / "requirements.txt"
    if stamp.exists() and stamp.read_bytes() == wanted:
        return python
    setting.tell(f"{name}: making its environment")
    shutil.rmtree(folder, ignore_errors=True)
    await asyncio.to_thread(venv.create, folder, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    await _answer([*pip, "-r", str(_HERE / f"{name}.txt")], INSTALL_TIMEOUT_S)
    stamp.write_bytes(wanted)
    return python


async def _answer(command: list[str], timeout_s: float) -> bytes:
    """What a program prints. Raises RuntimeError with the end of its complaint."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=tempfile.gettempdir()
    )
    try:
        printed, complaint = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise RuntimeError(f"no answer within {timeout_s:.0f} s") from None
    if process.returncode:
        raise RuntimeError(complaint.decode(errors="replace").strip()[-300:] or f"exit code {process.returncode}")
    return printed
