"""Every class of failure has a test at the level where somebody meets it; a class without one fails here.

Person-level where a command can show it today; the refusals of writing and of the vault are met in their rooms.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from isthmus.kernel import failures as f
from isthmus.kernel.failures import Failure, every_failure

TESTS = Path(__file__).resolve().parents[1]

CONNECT = "cli/test_failures_while_connecting.py"
READ = "cli/test_failures_while_reading.py"
PROCESS = "cli/test_processes.py"
COMMANDS = "cli/test_commands_for_real.py"
OVER = "connections/test_connecting_over_the_sandbox.py"
RESUME = "actions/test_resuming_runs.py"
VENDOR = "providers/business_central/test_errors.py"

MET: dict[type[Failure], str] = {
    f.MasterKeyMissing: f"{PROCESS}::test_another_master_key_is_refused_with_where_to_find_the_right_one",
    f.PausedAfterRestore: "safekeeping/test_restoring.py::test_the_pause_is_told_where_people_and_machines_look",
    f.DatabaseUnavailable: f"{PROCESS}::test_a_database_that_is_not_there_is_named",
    f.InvalidInput: f"{READ}::test_input_that_cannot_be_used_is_repeated_with_what_to_type_instead",
    f.ConfigurationFailure: f"{PROCESS}::test_a_folder_that_cannot_be_used_is_named",
    f.SecretWrong: f"{CONNECT}::test_a_wrong_secret_asks_for_the_value_and_not_the_id",
    f.SecretExpired: f"{READ}::test_an_expired_secret_is_replaced_without_consent_and_the_sync_goes_on_where_it_was",
    f.SignInAgain: f"{OVER}::test_a_dead_sign_in_is_asked_once_kept_and_left_alone",
    f.ConsentMissing: f"{CONNECT}::test_a_missing_consent_sends_to_an_administrator",
    f.IdentityConfiguration: f"{CONNECT}::test_a_wrong_tenant_is_named_as_the_thing_to_correct",
    f.AppNotRegistered: f"{CONNECT}::test_an_app_without_a_record_in_business_central_is_told_where_to_put_it",
    f.AccessTokenRejected: "client/test_cached_tokens.py",
    f.PermissionMissing: f"{READ}::test_an_object_without_permission_leaves_the_others_running",
    f.IdentityMismatch: f"{OVER}::test_a_reconnect_with_another_tenant_is_refused_and_changes_nothing",
    f.EnvironmentNotFound: f"{CONNECT}::test_an_unknown_environment_lists_those_that_there_are",
    f.CompanyNotFound: f"{READ}::test_an_unknown_company_suggests_the_nearest_names",
    f.UnknownObject: f"{READ}::test_an_unknown_object_suggests_the_nearest_names",
    f.UnknownField: f"{READ}::test_an_unknown_field_suggests_the_nearest_names",
    f.RecordNotFound: VENDOR,
    f.FilterRefused: f"{READ}::test_a_filter_that_cannot_work_is_refused_before_anything_is_sent",
    f.BadRequest: f"{RESUME}::test_a_refusal_of_the_first_page_is_no_dead_link",
    f.BusinessRule: VENDOR,
    f.Conflict: VENDOR,
    f.Duplicate: VENDOR,
    f.Unsupported: f"{READ}::test_what_cannot_be_read_in_bulk_says_so",
    f.TooLarge: f"{VENDOR}::test_a_413_is_too_large_and_not_retried_as_it_is",
    f.RateLimited: f"{READ}::test_a_429_that_names_a_time_beyond_the_deadline_ends_the_command_as_passing",
    f.VendorUnavailable: f"{READ}::test_a_503_is_repeated_and_a_lasting_one_ends_as_passing",
    f.VendorTimeout: f"{READ}::test_pages_shrink_on_time_outs_and_the_size_is_remembered",
    f.VendorError: VENDOR,
    f.ConnectionBroken: f"{READ}::test_a_connection_that_breaks_is_tried_again",
    f.CorruptResponse: f"{READ}::test_a_page_that_is_cut_off_is_fetched_again_and_never_stored_in_part",
    f.UnsafeLink: f"{READ}::test_a_link_to_another_host_ends_the_run_and_nobody_there_gets_the_token",
    f.SchemaDrift: f"{READ}::test_a_selected_field_that_is_gone_ends_the_run_with_what_to_do",
    f.RunSuperseded: f"{RESUME}::test_of_two_workers_on_one_run_the_later_one_wins_and_nothing_comes_twice",
    f.DestinationFailure: f"{COMMANDS}::test_destinations_take_changes_and_tell_what_became_of_them",
    f.StorageFull: f"{PROCESS}::test_a_full_disk_ends_an_export_with_a_remedy_and_without_a_file",
}
"""Where each class is met. A file without a test name holds the class's name or its code."""

BRANCHES = {Failure, f.CredentialFailure, f.RequestFailure, f.TransientFailure}
"""Met through their leaves alone."""

IN_THEIR_ROOM = {
    "SealBroken": "vault/test_sealing.py",
    "IdempotencyMismatch": "actions_writing/test_keys.py",
    "OutcomeUnknown": "actions_writing/test_lost_answers.py",
    "Undone": "actions_writing/test_batches_of_writes.py",
    "NotApproved": "actions_writing/test_approvals.py",
    "Defect": "actions_writing/test_defects.py",
}
"""Classes that no command for reading can bring about; the file holds the class's name or its code."""


def test_every_class_of_failure_is_met_somewhere() -> None:
    named = {cls.__name__ for cls in (*MET, *BRANCHES)} | set(IN_THEIR_ROOM)
    own = {cls.__name__ for cls in every_failure() if cls.__module__.startswith(f.__name__)}
    assert sorted(own - named) == [], "add a test at the level where a person meets it, and name it here"


@pytest.mark.parametrize(
    ("name", "place"), [(cls.__name__, place) for cls, place in MET.items()] + list(IN_THEIR_ROOM.items())
)
def test_the_test_that_is_named_exists(name: str, place: str) -> None:
    file, _, function = place.partition("::")
    text = (TESTS / file).read_text(encoding="utf-8")
    if not function:
        code = next(cls.code for cls in every_failure() if cls.__name__ == name)
        assert name in text or f'"{code}"' in text
        return
    defined = {
        node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert function in defined
