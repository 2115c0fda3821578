"""Configuration: read once, refused with the variable's name, silent about secrets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isthmus import settings, settings_oidc
from isthmus.kernel.failures import InvalidInput
from isthmus.settings import VARIABLES, load_settings, misspelt


def test_an_empty_environment_gives_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_settings({})
    assert loaded.home == tmp_path / ".isthmus"
    assert loaded.database_url is None
    assert loaded.master_key is None
    assert (loaded.project, loaded.workers, loaded.log_level) == ("default", 8, "warning")
    assert loaded.silent_s == 20


def test_every_variable_is_taken_from_the_environment(tmp_path: Path) -> None:
    loaded = load_settings(
        {
            "ISTHMUS_HOME": str(tmp_path / "data"),
            "ISTHMUS_DATABASE_URL": "postgresql://somewhere/isthmus",
            "ISTHMUS_MASTER_KEY": "a2V5",
            "ISTHMUS_PROJECT": "production",
            "ISTHMUS_WORKERS": "3",
            "ISTHMUS_SILENT_S": "7.5",
            "ISTHMUS_LOG_LEVEL": "DEBUG",
        }
    )
    assert loaded.home == tmp_path / "data"
    assert loaded.database_url == "postgresql://somewhere/isthmus"
    assert loaded.master_key == "a2V5"
    assert (loaded.project, loaded.workers, loaded.log_level) == ("production", 3, "debug")
    assert loaded.silent_s == 7.5


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    loaded = load_settings({"ISTHMUS_DATABASE_URL": "", "ISTHMUS_MASTER_KEY": "", "ISTHMUS_PROJECT": ""}, home=tmp_path)
    assert (loaded.database_url, loaded.master_key, loaded.project) == (None, None, "default")


def test_a_home_given_by_the_caller_wins(tmp_path: Path) -> None:
    assert load_settings({"ISTHMUS_HOME": "elsewhere"}, home=tmp_path).home == tmp_path


def test_the_data_folder_holds_the_database_and_the_key(tmp_path: Path) -> None:
    loaded = load_settings({}, home=tmp_path)
    assert loaded.postgres_dir == tmp_path / "postgres"
    assert loaded.master_key_file == tmp_path / "master.key"


@pytest.mark.parametrize(("text", "development"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_development_has_to_be_asked_for(tmp_path: Path, text: str, development: bool) -> None:
    assert load_settings({"ISTHMUS_DEVELOPMENT": text}, home=tmp_path).development is development
    assert load_settings({}, home=tmp_path).development is False


@pytest.mark.parametrize("workers", ["0", "65", "-1", "many", "1.5"])
def test_a_wrong_number_of_workers_is_refused_by_name(workers: str) -> None:
    with pytest.raises(InvalidInput, match="ISTHMUS_WORKERS") as caught:
        load_settings({"ISTHMUS_WORKERS": workers})
    assert "1 to 64" in caught.value.remedy


def test_a_wrong_log_level_is_refused_with_the_right_ones() -> None:
    with pytest.raises(InvalidInput, match="ISTHMUS_LOG_LEVEL") as caught:
        load_settings({"ISTHMUS_LOG_LEVEL": "loud"})
    assert "warning" in caught.value.remedy


@pytest.mark.conformance("OA-53")
def test_printing_the_settings_shows_neither_key_nor_database_password(tmp_path: Path) -> None:
    loaded = load_settings(
        {"ISTHMUS_MASTER_KEY": "canary-key", "ISTHMUS_DATABASE_URL": "postgresql://u:canary-pw@h/d"}, home=tmp_path
    )
    for printed in (repr(loaded), str(loaded), f"{loaded}"):
        assert "canary" not in printed


def test_every_variable_that_the_module_reads_is_described() -> None:
    source = "".join(Path(str(module.__file__)).read_text(encoding="utf-8") for module in (settings, settings_oidc))
    read = set(re.findall(r'(?:environ\.get\(|\(environ, )"(ISTHMUS_[A-Z_]+)"', source))
    assert read == set(VARIABLES)


@pytest.mark.parametrize("silent_s", ["0", "-3", "soon", "nan", "1e9"])
def test_a_silence_that_cannot_be_meant_is_refused_with_its_variable(tmp_path: Path, silent_s: str) -> None:
    with pytest.raises(InvalidInput, match="ISTHMUS_SILENT_S"):
        load_settings({"ISTHMUS_SILENT_S": silent_s}, home=tmp_path)


@pytest.mark.parametrize("number", ["0", "-1", "many", "nan", "1e9"])
def test_a_limit_of_requests_that_cannot_be_meant_is_refused_with_its_variable(tmp_path: Path, number: str) -> None:
    assert load_settings({"ISTHMUS_REQUESTS_PER_S": "0.5"}, home=tmp_path).requests_per_s == 0.5
    with pytest.raises(InvalidInput, match="ISTHMUS_REQUESTS_PER_S"):
        load_settings({"ISTHMUS_REQUESTS_PER_S": number}, home=tmp_path)


def test_files_lie_in_the_data_folder_unless_another_folder_is_named(tmp_path: Path) -> None:
    assert load_settings({}, home=tmp_path).files_dir == tmp_path / "files"
    assert load_settings({"ISTHMUS_FILES": "/srv/out"}, home=tmp_path).files_dir == Path("/srv/out")


@pytest.mark.parametrize("address", ["hub.example.com", "ftp://hub.example.com", "https://hub.example.com/?a=b"])
def test_a_public_address_that_is_none_is_refused_by_its_name(address: str) -> None:
    with pytest.raises(InvalidInput, match="ISTHMUS_PUBLIC_URL"):
        load_settings({"ISTHMUS_PUBLIC_URL": address})


def test_a_public_address_is_kept_without_its_last_slash() -> None:
    assert load_settings({"ISTHMUS_PUBLIC_URL": "https://hub.example.com/"}).public_url == "https://hub.example.com"


def test_a_variable_that_is_misspelt_is_named_with_what_was_perhaps_meant() -> None:
    environ = {"ISTHMUS_OIDC_ISSUR": "x", "ISTHMUS_MASTERKEY_FILE": "x", "isthmus_home": "x"}
    assert misspelt(environ) == {
        "ISTHMUS_MASTERKEY_FILE": "ISTHMUS_MASTER_KEY_FILE",
        "ISTHMUS_OIDC_ISSUR": "ISTHMUS_OIDC_ISSUER",
        "isthmus_home": "ISTHMUS_HOME",
    }
    assert (
        misspelt({"ISTHMUS_HOME": "x", "ISTHMUS_CLIENT_SECRET": "x", "ISTHMUS_OUR_OWN_THING": "x", "HOME": "x"}) == {}
    )
