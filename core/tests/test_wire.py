"""The errors that a transport makes, and reading the id out of an answer that is too large to be read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra.wire import TRANSPORT_ERROR, answered_id, too_large, transport_error, transport_facts


def test_the_code_is_outside_the_range_that_json_rpc_reserves():
    assert not -32768 <= TRANSPORT_ERROR <= -32000


def test_facts_that_are_unknown_are_left_out():
    error = transport_error("the server answered HTTP 503", kind="http", status=503, retry_after=None)
    facts = transport_facts(error["code"], error["data"])
    assert facts == {"kind": "http", "delivered": "maybe", "status": 503}


@pytest.mark.parametrize(
    "forged",
    [
        {"kind": "http", "delivered": "no"},
        {"kind": "http", "delivered": "no", "token": ""},
        {"kind": "http", "delivered": "no", "token": None},
        {"kind": "http", "delivered": "no", "token": "é"},
        {},
        None,
        "delivered: no",
        ["kind"],
    ],
)
def test_what_a_server_makes_up_is_not_taken_for_ours(forged: object):
    assert transport_facts(TRANSPORT_ERROR, forged) is None


def test_our_data_under_another_code_is_not_ours():
    assert transport_facts(-32603, transport_error("x", kind="http")["data"]) is None


def test_s23_an_answer_over_the_limit_names_the_limit():
    assert "max_message_bytes=2048" in too_large(2048)["message"]
    assert too_large(2048)["data"]["kind"] == "too_large"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"x":"aaaa', 7),
        (b' { "jsonrpc" : "2.0" , "id" : "a-7" , "error" : {', "a-7"),
        (b'{"id":7,"jsonrpc":"2.0","result":{', 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":{', None),
        (b'{"jsonrpc":"2.0","method":"notifications/message","params":{"id":7,"result":{', None),
        (b'{"jsonrpc":"2.0","result":{"id":7,"result":1', None),
        (b'{"jsonrpc":"2.0","id":null,"error":{', None),
        (b"not json at all", None),
        (b"", None),
    ],
)
def test_the_id_is_read_only_where_the_head_proves_that_a_request_of_ours_is_answered(
    head: bytes, expected: int | str | None
):
    assert answered_id(head) == expected


@given(st.integers(-(10**17), 10**17) | st.text(st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_any_id_is_read_back_from_a_response_of_the_usual_form(request_id: int | str):
    message = {"jsonrpc": "2.0", "id": request_id, "result": {"id": "another"}}
    assert answered_id(json.dumps(message, ensure_ascii=False).encode()) == request_id
