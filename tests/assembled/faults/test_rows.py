"""Which test proves what of each fault that is known from the wild, row by row."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HERE = "tests/assembled/faults"
ASSEMBLED = "tests/assembled"
CONNECTION = "core/tests/connection"
STDIO = "plugins/stdio/tests"

CONNECTIONS = {
    "close() in another task than connect()": [
        f"{ASSEMBLED}/test_life_cycle.py::test_s14_close_from_another_task_leaves_nothing",
        "plugins/fastapi/tests/test_lifespan.py::test_an_application_can_be_started_again",
    ],
    "out-of-order close": [f"{HERE}/test_connections.py::test_servers_may_be_let_go_of_in_any_order"],
    "dead upstream mid-call": [
        f"{ASSEMBLED}/test_failures.py::test_s16_fifty_requests_survive_the_death_of_their_server"
    ],
    "health flag lies": [
        f"{ASSEMBLED}/test_failures.py::test_s42_the_status_of_an_idle_killed_server_is_true_within_a_second",
        f"{ASSEMBLED}/test_failures.py::test_s42_a_killed_child_is_noticed_and_replaced",
    ],
    "caller cancelled": [
        f"{HERE}/test_connections.py::test_of_fifty_calls_the_one_that_is_cancelled_ends_and_its_server_gives_it_up",
        f"{CONNECTION}/test_client.py::test_a_cancelled_request_is_cancelled_at_the_server_and_nowhere_else",
    ],
    "restart between calls, 2026 wire": [
        f"{ASSEMBLED}/test_failures.py::test_the_first_call_after_a_restart_works",
        "plugins/streamable-http/tests/test_transport.py::test_without_the_watch_a_modern_connection_outlives_a_restart",
    ],
    "restart, legacy session": [
        f"{HERE}/test_http_and_content.py::test_a_forgotten_session_is_made_anew_for_whatever_is_asked",
        f"{ASSEMBLED}/test_delivery.py::test_a_call_in_a_forgotten_session_runs_once_in_a_new_one",
        f"{ASSEMBLED}/test_failures.py::test_the_first_call_after_a_restart_works",
    ],
    "server never answers initialize/discover": [
        f"{HERE}/test_connections.py::test_s10_what_cannot_be_connected_costs_its_own_timeout_and_says_why",
        f"{HERE}/test_connections.py::test_s11_with_fail_fast_the_start_fails_in_time_with_the_reason",
        f"{HERE}/test_processes.py::test_a_process_that_does_not_start_to_speak_costs_its_own_timeout",
    ],
    "slow loris response": [
        f"{HERE}/test_http_and_content.py::test_an_http_server_that_misbehaves_costs_its_own_question_in_time",
        f"{HERE}/test_network.py::test_a_network_that_fails_costs_the_questions_on_their_way",
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
    ],
    "response with a foreign id": [
        f"{HERE}/test_http_and_content.py::test_an_http_server_that_misbehaves_costs_its_own_question_in_time",
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
    ],
    "connect storm / thundering reconnect": [
        f"{CONNECTION}/test_reconnecting.py::test_s13_fifty_servers_that_fail_together_do_not_come_back_in_step",
    ],
    "retries of non-idempotent calls": [
        f"{HERE}/test_network.py::test_a_call_whose_answer_is_lost_is_not_made_again",
        f"{HERE}/test_http_and_content.py::test_a_tool_that_calls_itself_harmless_is_not_repeated_for_that",
        f"{ASSEMBLED}/test_delivery.py::test_a_tool_that_has_run_is_not_run_again_whatever_its_server_answers",
        f"{ASSEMBLED}/test_tools.py::test_a_call_that_may_have_run_is_not_repeated_anywhere",
    ],
    "flapping server": [
        f"{CONNECTION}/test_reconnecting.py::"
        "test_a_server_that_dies_after_every_handshake_is_connected_ever_less_often",
    ],
    "all down": [
        f"{ASSEMBLED}/test_life_cycle.py::test_s11_fail_fast_names_the_failed_and_closes_the_rest",
        f"{ASSEMBLED}/test_life_cycle.py::test_s11_nobody_connected_is_an_error_with_every_reason",
        f"{ASSEMBLED}/test_resources.py::test_s24_none_of_the_candidates_is_connected",
    ],
}

PROCESSES = {
    "kill -9, exit(3), half a line then death": [
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
        f"{ASSEMBLED}/test_change_notices.py::test_s33_a_server_that_was_restarted_is_asked_anew_and_tells_anew",
    ],
    "ignores EOF and SIGTERM": [
        f"{HERE}/test_processes.py::"
        "test_s14_twenty_processes_that_ignore_every_request_to_end_are_gone_in_five_seconds",
    ],
    "child left behind": [
        f"{HERE}/test_processes.py::test_s14_a_child_that_its_server_leaves_behind_is_ended",
        f"{STDIO}/test_talking.py::test_s14_a_child_that_outlives_the_server_is_ended_with_its_group",
    ],
    "stderr flood 20 MB": [
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
        f"{HERE}/test_processes.py::test_what_a_process_says_beside_the_protocol_is_shown_and_bounded",
    ],
    "banner / log lines on stdout": [
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
        f"{HERE}/test_processes.py::test_what_a_process_says_beside_the_protocol_is_shown_and_bounded",
    ],
    "server closes stdin/stdout, stays alive": [
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
        f"{STDIO}/test_talking.py::test_a_server_that_closes_its_output_but_lives_is_lost_and_killed",
        f"{STDIO}/test_talking.py::test_a_server_that_stops_listening_is_lost",
    ],
    "garbage line instead of an answer": [
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
    ],
    "invalid UTF-8": [
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
        f"{STDIO}/test_talking.py::test_invalid_utf_8_is_replaced_and_the_connection_goes_on",
    ],
    "50 at once": [
        f"{STDIO}/test_talking.py::test_fifty_servers_come_and_go",
        f"{CONNECTION}/test_spawning.py::test_s10_at_most_sixteen_processes_are_being_started",
    ],
    "connect cancelled": [
        f"{ASSEMBLED}/test_life_cycle.py::test_s15_cancelling_the_entry_of_a_session_leaves_nothing",
        f"{STDIO}/test_connecting.py::test_s10_a_silent_server_can_be_given_up_at_any_time_and_is_gone_then",
    ],
    "environment leak": [f"{ASSEMBLED}/test_secrets_and_logs.py::test_a_child_sees_only_a_minimal_environment"],
    "command injection / config-to-RCE": [
        f"{HERE}/test_processes.py::test_a_command_is_never_given_to_a_shell",
        f"{STDIO}/test_connecting.py::test_a_missing_command_is_not_found_and_not_tried_again",
    ],
}

CONTENT = {
    "50 MB resource": [
        f"{HERE}/test_http_and_content.py::"
        "test_s23_a_message_of_fifty_megabytes_costs_neither_memory_nor_time_of_others",
        f"{HERE}/test_http_and_content.py::test_an_http_server_that_misbehaves_costs_its_own_question_in_time",
    ],
    "gzip bomb": [
        f"{HERE}/test_http_and_content.py::"
        "test_s23_a_message_of_fifty_megabytes_costs_neither_memory_nor_time_of_others",
    ],
    "endless cursor / same cursor": [
        f"{HERE}/test_http_and_content.py::test_an_http_server_that_misbehaves_costs_its_own_question_in_time",
        f"{CONNECTION}/test_listing.py::test_s23_a_listing_of_more_than_max_pages_is_an_error_that_names_the_limit",
        f"{CONNECTION}/test_listing.py::test_s23_a_listing_of_more_than_max_items_is_an_error_that_names_the_limit",
    ],
    "empty-string cursor": [f"{HERE}/test_http_and_content.py::test_s22_an_empty_text_is_a_cursor"],
    "malformed shapes": [
        f"{HERE}/test_http_and_content.py::test_an_http_server_that_misbehaves_costs_its_own_question_in_time",
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
        "core/tests/connection/test_faults.py::test_s6_a_malformed_answer_is_explained_by_its_place_not_by_its_value",
    ],
    "100k-deep JSON": [
        f"{HERE}/test_processes.py::test_json_of_any_depth_costs_its_own_question",
        f"{HERE}/test_http_and_content.py::test_an_http_server_that_misbehaves_costs_its_own_question_in_time",
    ],
    "NaN in JSON": ["plugins/fastapi/tests/test_router.py::test_a_number_that_json_does_not_have_becomes_null"],
    "duplicate names in one server": [
        "core/tests/test_catalogue.py::test_what_a_server_lists_twice_is_one_tool",
        f"{ASSEMBLED}/test_resources.py::test_s22_resources_that_share_a_name_are_kept_under_their_uris",
    ],
    "same name on two servers": [
        f"{ASSEMBLED}/test_tools.py::test_tools_that_two_servers_share_are_prefixed_and_others_not",
        "core/tests/test_catalogue.py::test_every_tool_has_a_name_of_its_own_which_leads_back_to_it",
    ],
    "Unicode/confusable names": [
        f"{HERE}/test_http_and_content.py::test_names_that_look_like_others_are_other_names_and_do_no_harm_in_messages",
    ],
    "tool annotations": [
        f"{HERE}/test_http_and_content.py::test_a_tool_that_calls_itself_harmless_is_not_repeated_for_that",
    ],
    "network $ref in schemas": [f"{HERE}/test_http_and_content.py::test_nothing_is_fetched_that_a_schema_refers_to"],
    "list order/variance": [
        f"{HERE}/test_http_and_content.py::test_a_hundred_listings_over_servers_that_race_are_the_same_to_the_byte",
    ],
    "SSE legacy death": [
        f"{ASSEMBLED}/test_failures.py::test_s16_fifty_requests_survive_the_death_of_their_server",
        "plugins/sse/tests/test_faults.py::test_an_event_stream_that_is_cut_ends_the_connection",
        f"{HERE}/test_network.py::test_a_server_behind_a_network_that_is_down_is_shown_so_and_answers_once_it_is_back",
    ],
    "SSE legacy endpoint event to another origin": [
        f"{HERE}/test_http_and_content.py::test_an_address_of_another_origin_for_the_messages_of_sse_is_refused",
        "plugins/sse/tests/test_faults.py::test_an_address_for_messages_on_another_origin_is_refused_with_both_named",
    ],
}

NETWORK = {
    "latency, black hole, reset, cut, drip, garbage": [
        f"{HERE}/test_network.py::test_a_network_that_fails_costs_the_questions_on_their_way",
        f"{HERE}/test_connections.py::test_s10_what_cannot_be_connected_costs_its_own_timeout_and_says_why",
    ],
    "redirects": [
        f"{HERE}/test_http_and_content.py::test_off_the_origin_no_request_and_no_credentials_arrive",
        "core/tests/test_http_isolation.py::test_a_redirect_to_another_origin_is_not_followed_and_gets_no_credentials",
    ],
    "header injection": [
        "core/tests/test_http_options.py::"
        "test_s6_an_illegal_header_value_is_refused_by_the_name_of_its_header_and_never_shown",
    ],
    "secrets in errors": [
        f"{ASSEMBLED}/test_secrets_and_logs.py::test_s6_no_secret_reaches_a_status_log_error_or_repr",
    ],
    "${ENV}": [
        "core/tests/config/test_placeholders.py::test_s6_a_placeholder_stands_for",
        "core/tests/config/test_placeholders.py::test_s6_every_unset_variable_is_reported_at_once",
        "core/tests/config/test_placeholders.py::test_s6_keys_are_never_expanded",
    ],
}

ROWS = {
    f"{table}: {row}": tests
    for table, rows in {
        "connections": CONNECTIONS,
        "processes": PROCESSES,
        "content": CONTENT,
        "network": NETWORK,
    }.items()
    for row, tests in rows.items()
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_test(row: str) -> None:
    missing = [
        name
        for name in ROWS[row]
        for file, _, test in [name.partition("::")]
        if not re.search(rf"^(?:async )?def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert ROWS[row]
    assert missing == []
