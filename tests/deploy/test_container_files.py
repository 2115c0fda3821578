"""The container files say what they should, and everything they name exists; no engine is needed to tell."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from isthmus.cli.commands import build_app
from isthmus.settings import SECRETS, VARIABLES

ROOT = Path(__file__).resolve().parents[2]
INSTRUCTIONS = frozenset(
    {
        *("FROM", "ARG", "RUN", "COPY", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL"),
        *("HEALTHCHECK", "ENTRYPOINT", "CMD", "LABEL"),
    }
)


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Containerfile, one instruction with its words at a time."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    bare = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", bare)
    pairs = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in pairs]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file as an engine reads it."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def _of(instructions: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for each, rest in instructions if each == name]


def test_the_containerfile_has_known_instructions_and_two_stages(instructions: list[tuple[str, str]]) -> None:
    assert {name for name, _ in instructions} <= INSTRUCTIONS
    assert _of(instructions, "FROM") == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]


def test_what_is_installed_is_locked_with_hashes(instructions: list[tuple[str, str]]) -> None:
    assert any("--require-hashes --no-deps --only-binary :all:" in each for each in _of(instructions, "RUN"))
    locks = [each.partition("=")[2] for each in _of(instructions, "ARG") if each.startswith("LOCK")]
    text = (ROOT / locks[0]).read_text(encoding="utf-8")
    pins = re.findall(r"^[A-Za-z0-9._-]+(?:\[[^\]]*\])?==\S+", text, re.MULTILINE)
    assert len(pins) > 50
    assert all(re.search(re.escape(pin) + r"[^\n]*\\\n\s+--hash=sha256:", text) for pin in pins)


def test_the_lock_for_traces_is_the_runtimes_and_agrees_with_the_developers() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(\S+)", text, re.MULTILINE))

    runtime, traces, developers = pins("runtime.txt"), pins("otel.txt"), pins("dev.txt")
    assert runtime.items() <= traces.items() <= developers.items()
    assert "opentelemetry-sdk" in traces


def test_every_copied_path_exists_and_is_not_ignored(instructions: list[tuple[str, str]]) -> None:
    ignore = (ROOT / ".containerignore").read_text(encoding="utf-8").split()
    kept = [each.removeprefix("!") for each in ignore if each.startswith("!")]
    for copied in _of(instructions, "COPY"):
        words = [word for word in shlex.split(copied) if not word.startswith("--")]
        if copied.startswith("--from=build"):
            continue
        source = words[0].replace("${LOCK}", "requirements/otel.txt")
        assert (ROOT / source).exists(), source
        assert any(source == each or source.startswith(f"{each}/") for each in kept), source


def test_both_engines_leave_the_same_things_out() -> None:
    podman, docker = ((ROOT / name).read_text(encoding="utf-8") for name in (".containerignore", ".dockerignore"))
    assert podman == docker
    assert podman.splitlines()[0] == "*"


def test_it_runs_as_nobody_in_particular_and_stops_when_asked(instructions: list[tuple[str, str]]) -> None:
    assert _of(instructions, "USER") == ["10001:10001"]
    assert _of(instructions, "STOPSIGNAL") == ["SIGTERM"]
    last = [name for name, _ in instructions]
    assert last.index("USER") < last.index("ENTRYPOINT")


def test_the_command_of_the_image_is_one_of_isthmus(instructions: list[tuple[str, str]]) -> None:
    [entry], [command] = _of(instructions, "ENTRYPOINT"), _of(instructions, "CMD")
    assert yaml.safe_load(entry) == ["python", "-m", "isthmus"]
    assert (ROOT / "src" / "isthmus" / "__main__.py").exists()
    _understood(yaml.safe_load(command))


def test_the_health_check_asks_what_the_server_answers(instructions: list[tuple[str, str]]) -> None:
    [check] = _of(instructions, "HEALTHCHECK")
    command = yaml.safe_load(check.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], "healthcheck", "exec")
    assert "/healthz" in command[2]


def test_every_service_of_the_compose_file_is_bounded_and_unprivileged(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"database", "hub", "worker"}
    for name in ("hub", "worker"):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service
        _understood(service["command"])
    assert compose["services"]["worker"]["deploy"]["replicas"] == 2
    assert all(each["healthcheck"] for each in compose["services"].values())
    assert compose["services"]["hub"]["ports"] == ["127.0.0.1:8080:8080"]


def test_the_compose_file_passes_only_variables_that_isthmus_reads(compose: dict[str, Any]) -> None:
    known = {*VARIABLES, *(f"{name}_FILE" for name in SECRETS), "OTEL_EXPORTER_OTLP_ENDPOINT"}
    for name in ("hub", "worker"):
        assert set(compose["services"][name]["environment"]) <= known


def test_no_secret_stands_in_the_compose_file(compose: dict[str, Any]) -> None:
    declared = set(compose["secrets"])
    for service in compose["services"].values():
        assert set(service["secrets"]) <= declared
        for name, value in service["environment"].items():
            if name.endswith("_FILE"):
                assert str(value).removeprefix("/run/secrets/") in service["secrets"]
            assert "PASSWORD" not in name or name.endswith("_FILE")
    assert all(each["file"].startswith("./secrets/") for each in compose["secrets"].values())
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()


def test_volumes_networks_and_build_context_of_the_compose_file_exist(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert {each.partition(":")[0] for each in service["volumes"]} <= set(compose["volumes"])
        assert set(service["networks"]) <= set(compose["networks"])
    build = compose["services"]["hub"]["build"]
    assert (ROOT / "deploy" / build["context"] / build["dockerfile"]).exists()


def test_stopping_waits_longer_than_the_server_drains(compose: dict[str, Any]) -> None:
    from isthmus.cli.serving import STOP_S
    from isthmus.server import WORKER_STOP_S

    grace_s = int(compose["services"]["hub"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > STOP_S + WORKER_STOP_S


@pytest.mark.parametrize("name", ["Caddyfile", "nginx.conf"])
def test_a_proxy_example_is_balanced_and_leads_to_the_hub(name: str) -> None:
    text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
    bare = "\n".join(line.partition("#")[0] for line in text.splitlines())
    assert bare.count("{") == bare.count("}")
    assert "127.0.0.1:8080" in bare
    assert "/metrics" in bare


def test_nginx_writes_the_forwarded_headers_anew_and_ends_each_directive() -> None:
    text = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    assert all(line[-1] in ";{}" for line in lines if line)
    assert "$proxy_add_x_forwarded_for" not in text
    assert re.search(r"proxy_set_header X-Forwarded-For\s+\$remote_addr;", text)


def _understood(command: list[str]) -> None:
    """A command with its options exists."""
    root = typer.main.get_command(build_app())
    found = root.commands[command[0]]  # type: ignore[attr-defined]  # the root is a group
    options = {option for each in found.params for option in each.opts}
    assert {word for word in command[1:] if word.startswith("--")} <= options
