"""Which test proves what of each fault that is known from the wild, row by row."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HERE = "tests/assembled/faults"
ASSEMBLED = "tests/assembled"
CONNECTION = "core/tests/connection"
STDIO = "plugins/stdio/tests"
BOUNDS = f"{ASSEMBLED}/test_bounds.py"
PINS = f"{ASSEMBLED}/test_tool_pins.py"
CANARIES = f"{ASSEMBLED}/test_canaries.py"
CREDENTIALS = f"{ASSEMBLED}/test_credentials.py"
GUARD = "core/tests/test_http_guard.py"

CONNECTIONS = {
    "close() in another task than connect()": [
        f"{ASSEMBLED}/test_life_cycle.py::test_s14_close_from_another_task_leaves_nothing",
        "plugins/fastapi/tests/test_lifespan.py::test_an_application_can_be_started_again",
    ],
    "out-of-order close": [
        f"{HERE}/test_connections.py::test_clients_may_be_let_go_of_in_any_order",
        f"{HERE}/test_connections.py::test_servers_may_be_let_go_of_in_any_order",
    ],
    "dead upstream mid-call": [
        f"{ASSEMBLED}/test_failures.py::test_s16_fifty_requests_survive_the_death_of_their_server"
    ],
    "health flag lies": [
        f"{ASSEMBLED}/test_failures.py::test_s42_the_status_of_an_idle_killed_server_is_true_within_a_second",
        f"{ASSEMBLED}/test_failures.py::test_s42_a_killed_child_is_noticed_and_replaced",
        f"{ASSEMBLED}/test_restarts.py::test_s42_a_killed_server_is_known_to_be_down_and_the_first_call_after_its_return_works",
    ],
    "caller cancelled": [
        f"{HERE}/test_connections.py::test_of_a_hundred_calls_the_one_that_is_cancelled_ends_and_its_server_gives_it_up",
        f"{CONNECTION}/test_client.py::test_a_cancelled_request_is_cancelled_at_the_server_and_nowhere_else",
    ],
    "restart between calls, 2026 wire": [
        f"{ASSEMBLED}/test_failures.py::test_the_first_question_after_a_restart_is_answered_whatever_it_is",
        "plugins/streamable-http/tests/test_transport.py::test_without_the_watch_a_modern_connection_outlives_a_restart",
    ],
    "restart, legacy session": [
        f"{HERE}/test_http_and_content.py::test_a_forgotten_session_is_made_anew_for_whatever_is_asked",
        f"{ASSEMBLED}/test_delivery.py::test_a_call_in_a_forgotten_session_runs_once_in_a_new_one",
        f"{ASSEMBLED}/test_failures.py::test_the_first_question_after_a_restart_is_answered_whatever_it_is",
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
        f"{BOUNDS}::test_an_answer_that_trickles_in_for_ever_ends_with_the_time_of_its_request",
        f"{BOUNDS}::test_a_server_that_says_other_things_for_ever_does_not_put_the_deadline_off",
    ],
    "response with a foreign id": [
        f"{HERE}/test_http_and_content.py::test_an_http_server_that_misbehaves_costs_its_own_question_in_time",
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
        f"{BOUNDS}::test_s23_an_answer_with_a_foreign_id_is_counted_and_its_request_ends_in_time",
    ],
    "connect storm / thundering reconnect": [
        f"{CONNECTION}/test_reconnecting.py::test_s13_fifty_servers_that_fail_together_do_not_come_back_in_step",
        f"{CONNECTION}/test_reconnecting.py::test_servers_that_hang_hold_up_no_other",
        f"{CONNECTION}/test_pacing.py::test_in_no_second_are_there_more_attempts_than_the_budget_has_twice",
        f"{CONNECTION}/test_backoff.py::test_every_wait_is_a_part_of_a_bound_that_doubles_up_to_a_cap",
        f"{CONNECTION}/test_health.py::test_checks_of_many_servers_are_not_in_step",
    ],
    "retries of non-idempotent calls": [
        f"{HERE}/test_network.py::test_a_call_whose_answer_is_lost_is_not_made_again",
        f"{HERE}/test_http_and_content.py::test_a_tool_that_calls_itself_harmless_is_not_repeated_for_that",
        f"{ASSEMBLED}/test_delivery.py::test_a_tool_that_has_run_is_not_run_again_whatever_its_server_answers",
        f"{ASSEMBLED}/test_tools.py::test_a_call_that_may_have_run_is_not_repeated_anywhere",
        f"{ASSEMBLED}/test_failover.py::test_of_200_calls_of_an_unsafe_tool_none_runs_twice_though_a_replica_is_killed",
        f"{ASSEMBLED}/test_routing.py::test_a_call_that_may_have_run_is_repeated_only_if_its_servers_configuration_says_so",
    ],
    "flapping server": [
        f"{CONNECTION}/test_reconnecting.py::"
        "test_a_server_that_dies_after_every_handshake_is_connected_ever_less_often",
        f"{CONNECTION}/test_supervising.py::test_s42_five_failures_open_the_circuit_of_a_server_that_stays_connected",
        f"{CONNECTION}/test_supervising.py::test_after_its_time_exactly_one_request_finds_out_whether_it_is_back",
        f"{CONNECTION}/test_supervising.py::test_the_last_server_of_a_domain_is_asked_though_its_circuit_is_open",
        f"{CONNECTION}/test_health.py::test_a_server_that_flaps_for_a_day_is_probed_ever_less_often_while_it_is_down",
    ],
    "all down": [
        f"{ASSEMBLED}/test_life_cycle.py::test_s11_fail_fast_names_the_failed_and_closes_the_rest",
        f"{ASSEMBLED}/test_life_cycle.py::test_s11_nobody_connected_is_an_error_with_every_reason",
        f"{ASSEMBLED}/test_life_cycle.py::test_s11_a_failed_server_is_retried_in_the_background",
        f"{ASSEMBLED}/test_resources.py::test_s21_a_failed_fetch_keeps_its_entry_and_its_reason",
        f"{ASSEMBLED}/test_resources.py::test_s21_fail_fast_raises_the_first_failure_with_its_server",
        f"{ASSEMBLED}/test_resources.py::test_s24_none_of_the_candidates_is_connected",
    ],
}

PROCESSES = {
    "kill -9, exit(3), half a line then death": [
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
        f"{ASSEMBLED}/test_change_notices.py::test_s33_a_server_that_was_restarted_is_asked_anew_and_tells_anew",
        f"{CONNECTION}/test_first_use.py::test_a_process_that_ends_at_once_is_started_ten_times_a_minute_at_most",
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
        f"{BOUNDS}::test_s42_what_is_no_message_is_counted_and_the_first_of_it_is_shown_redacted",
        f"{BOUNDS}::test_a_server_that_writes_nothing_but_garbage_is_let_go_of",
    ],
    "invalid UTF-8": [
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
        f"{STDIO}/test_talking.py::test_invalid_utf_8_is_replaced_and_the_connection_goes_on",
        f"{BOUNDS}::test_s23_bytes_that_are_not_utf_8_are_replaced_and_the_next_request_works",
    ],
    "50 at once": [
        f"{STDIO}/test_talking.py::test_fifty_servers_come_and_go",
        f"{CONNECTION}/test_spawning.py::test_s10_at_most_sixteen_processes_are_being_started",
        "tests/soak/test_many_servers.py::test_s10_of_two_hundred_processes_sixteen_are_being_started_at_a_time",
        "tests/soak/test_many_servers.py::test_s14_a_hundred_servers_come_and_go_without_a_trace",
    ],
    "connect cancelled": [
        f"{ASSEMBLED}/test_life_cycle.py::test_s15_cancelling_the_entry_of_a_session_leaves_nothing",
        f"{STDIO}/test_connecting.py::test_s10_a_silent_server_can_be_given_up_at_any_time_and_is_gone_then",
    ],
    "environment leak": [
        f"{ASSEMBLED}/test_secrets_and_logs.py::test_a_child_sees_only_a_minimal_environment",
        f"{STDIO}/test_connecting.py::test_the_environment_is_minimal_and_holds_what_was_configured",
    ],
    "command injection / config-to-RCE": [
        f"{HERE}/test_processes.py::test_a_command_is_never_given_to_a_shell",
        f"{STDIO}/test_connecting.py::test_a_missing_command_is_not_found_and_not_tried_again",
        "core/tests/config/test_security.py::test_any_other_command_is_refused_naming_the_field_and_the_rule",
        "plugins/fastapi/tests/test_router.py::test_the_openapi_document_describes_what_is_answered",
    ],
}

CONTENT = {
    "50 MB resource": [
        f"{HERE}/test_http_and_content.py::"
        "test_s23_a_message_of_fifty_megabytes_costs_neither_memory_nor_time_of_others",
        f"{HERE}/test_http_and_content.py::test_an_http_server_that_misbehaves_costs_its_own_question_in_time",
        f"{BOUNDS}::test_s23_an_answer_that_is_too_large_costs_its_own_request_only",
        f"{BOUNDS}::test_s23_a_hundred_thousand_tools_on_one_page_hold_nobody_up",
    ],
    "gzip bomb": [
        f"{HERE}/test_http_and_content.py::"
        "test_s23_a_message_of_fifty_megabytes_costs_neither_memory_nor_time_of_others",
        f"{BOUNDS}::test_s23_a_bomb_costs_no_more_memory_than_an_answer_may_have",
    ],
    "endless cursor / same cursor": [
        f"{HERE}/test_http_and_content.py::test_an_http_server_that_misbehaves_costs_its_own_question_in_time",
        f"{CONNECTION}/test_listing.py::test_s23_a_listing_of_more_than_max_pages_is_an_error_that_names_the_limit",
        f"{CONNECTION}/test_listing.py::test_s23_a_listing_of_more_than_max_items_is_an_error_that_names_the_limit",
        f"{BOUNDS}::test_s23_a_listing_without_end_is_an_error_and_its_beginning_is_not_passed_off_as_the_whole",
    ],
    "empty-string cursor": [f"{HERE}/test_http_and_content.py::test_s22_an_empty_text_is_a_cursor"],
    "malformed shapes": [
        f"{HERE}/test_http_and_content.py::test_an_http_server_that_misbehaves_costs_its_own_question_in_time",
        f"{HERE}/test_processes.py::test_a_process_that_misbehaves_costs_its_own_question_in_time",
        "core/tests/connection/test_faults.py::test_s6_a_malformed_answer_is_explained_by_its_place_not_by_its_value",
        f"{BOUNDS}::test_s23_a_malformed_item_costs_itself_and_not_the_listing",
        f"{BOUNDS}::test_a_resource_that_is_listed_in_a_malformed_way_does_not_keep_the_others_from_being_cached",
    ],
    "100k-deep JSON": [
        f"{HERE}/test_processes.py::test_json_of_any_depth_costs_its_own_question",
        f"{HERE}/test_http_and_content.py::test_an_http_server_that_misbehaves_costs_its_own_question_in_time",
        f"{BOUNDS}::test_s23_json_of_any_depth_is_the_error_of_its_request_at_once",
    ],
    "NaN in JSON": [
        "plugins/fastapi/tests/test_router.py::test_a_number_that_json_does_not_have_becomes_null",
        f"{BOUNDS}::test_s23_a_number_that_json_does_not_have_never_reaches_a_caller",
    ],
    "duplicate names in one server": [
        "core/tests/test_catalogue.py::test_what_a_server_lists_twice_is_one_tool",
        f"{ASSEMBLED}/test_resources.py::test_s22_resources_that_share_a_name_are_kept_under_their_uris",
        f"{BOUNDS}::test_the_first_of_a_servers_tools_with_one_name_counts",
        f"{BOUNDS}::test_tools_with_one_name_that_are_the_same_are_called_so",
    ],
    "same name on two servers": [
        f"{ASSEMBLED}/test_tools.py::test_tools_that_two_servers_share_are_prefixed_and_others_not",
        "core/tests/test_catalogue.py::test_every_tool_has_a_name_of_its_own_which_leads_back_to_it",
    ],
    "Unicode/confusable names": [
        f"{HERE}/test_http_and_content.py::test_names_that_look_like_others_are_other_names_and_do_no_harm_in_messages",
    ],
    "tool poisoning / rug pull": [
        f"{PINS}::test_a_tool_of_which_one_character_was_changed_is_hidden_and_says_why",
        f"{PINS}::test_with_the_policy_warn_tools_that_are_not_as_pinned_are_reported_and_work",
        f"{PINS}::test_a_tool_that_changes_while_connected_is_hidden_and_comes_back",
        f"{PINS}::test_another_order_of_keys_is_no_change",
        f"{PINS}::test_a_listing_that_another_process_cached_is_checked_like_a_fetched_one",
        f"{PINS}::test_a_server_that_comes_back_with_another_tool_is_not_called",
        f"{PINS}::test_a_tool_that_was_changed_while_nobody_looked_is_not_called_whatever_is_cached",
        f"{PINS}::test_a_call_that_waits_for_its_turn_looks_again_if_tools_change_until_then",
        f"{ASSEMBLED}/test_delivery.py::"
        "test_a_call_in_a_forgotten_session_is_not_made_again_if_the_tool_is_another_one_now",
        "core/tests/test_tool_digest.py::test_the_order_of_keys_does_not_matter_at_any_depth",
        "core/tests/test_tool_digest.py::test_any_other_value_anywhere_gives_another_digest",
        "plugins/cli/tests/test_pins.py::test_tools_are_looked_at_approved_changed_blocked_and_approved_again",
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
        f"{CREDENTIALS}::test_a_redirect_to_another_origin_is_named_and_gets_no_token",
    ],
    "header injection": [
        "core/tests/test_http_options.py::"
        "test_s6_an_illegal_header_value_is_refused_by_the_name_of_its_header_and_never_shown",
    ],
    "secrets in errors": [
        f"{ASSEMBLED}/test_secrets_and_logs.py::test_s6_no_secret_reaches_a_status_log_error_or_repr",
        f"{CANARIES}::test_s6_no_secret_comes_out_of_a_failure",
        f"{CANARIES}::test_s6_no_secret_comes_out_of_the_web_application_or_the_command",
        f"{CANARIES}::test_s6_a_secret_in_the_wrong_place_is_not_shown",
    ],
    "${ENV}": [
        "core/tests/config/test_placeholders.py::test_s6_a_placeholder_stands_for",
        "core/tests/config/test_placeholders.py::test_s6_every_unset_variable_is_reported_at_once",
        "core/tests/config/test_placeholders.py::test_s6_keys_are_never_expanded",
    ],
    "SSRF through OAuth discovery": [
        f"{CREDENTIALS}::test_a_server_cannot_lead_discovery_inside_the_network",
        f"{CREDENTIALS}::test_a_server_cannot_send_the_client_secret_to_another_authorization_server",
        f"{GUARD}::test_what_is_inside_is_not_connected_to_however_it_is_named",
        f"{GUARD}::test_a_name_that_is_pointed_elsewhere_after_it_was_checked_leads_to_the_checked_address",
        f"{GUARD}::test_a_configured_name_that_was_public_and_is_pointed_inside_is_blocked",
    ],
    "token passthrough": [
        f"{CANARIES}::test_nothing_of_a_caller_s_request_is_passed_upstream",
    ],
    "cross-client leak": [
        "tests/soak/test_isolation.py::test_nobody_gets_the_answer_to_another_ones_question",
        "plugins/streamable-http/tests/test_transport.py::test_a_hundred_calls_at_once_each_get_their_own_answer",
        "plugins/sse/tests/test_transport.py::test_a_hundred_calls_at_once_each_get_their_own_answer",
        f"{STDIO}/test_connecting.py::test_a_hundred_calls_at_once_each_get_their_own_answer",
        f"{ASSEMBLED}/test_cache_sharing.py::test_s33_nobody_is_served_what_another_principal_was_told",
    ],
    "internals in HTTP errors": [
        "plugins/fastapi/tests/test_router.py::test_an_unforeseen_error_shows_nothing_but_its_id",
        "plugins/fastapi/tests/test_router.py::test_a_failed_fetch_is_a_bad_gateway_that_does_not_quote_the_server",
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
