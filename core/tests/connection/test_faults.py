"""S16: whatever a connection or a request ends with becomes one plain record."""

import asyncio
import socket
import ssl

import anyio
import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError
from mcp_orchestra.connection.fault import in_seconds
from mcp_orchestra.connection.faults import fault_of
from mcp_orchestra.errors import ConfigurationError, MCPConnectionError
from mcp_orchestra.http.failures import call_failed, call_refused, session_forgotten
from mcp_orchestra.wire import TRANSPORT_ERROR, too_large, unsendable
from mcp_types import CallToolResult
from pydantic import BaseModel, ValidationError, create_model

REQUEST = httpx2.Request("POST", "http://server.invalid/mcp")


def answered(error):
    """The SDK's exception for a JSON-RPC error object."""
    return MCPError(error["code"], error["message"], error.get("data"))


def refused(status, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return answered(call_refused(httpx2.Response(status, headers=headers)))


def invalid(model=CallToolResult, value=None):
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value if value is not None else {"content": [{"type": "text", "text": 5}]})
    return caught.value


def status_error(status, **headers):
    return httpx2.HTTPStatusError("no", request=REQUEST, response=httpx2.Response(status, headers=headers))


def caused(error, *causes):
    """The error, raised from the first cause, that from the second, and so on."""
    for later, earlier in zip((error, *causes), causes, strict=False):
        later.__cause__ = earlier
    return error


# What failed: the exception, the word for it, whether the server may have acted on it, and whether it may pass.
ROWS = {
    "isolated: refused": (answered(call_failed(httpx2.ConnectError("x"))), "refused", "no", True),
    "isolated: no connection in time": (answered(call_failed(httpx2.ConnectTimeout("x"))), "timeout", "no", True),
    "isolated: no room in the pool": (answered(call_failed(httpx2.PoolTimeout("x"))), "timeout", "no", True),
    "isolated: 401": (refused(401), "auth", "no", False),
    "isolated: 403": (refused(403), "auth", "no", False),
    "isolated: 407": (refused(407), "auth", "maybe", False),
    "isolated: 405": (refused(405), "http", "no", True),
    "isolated: 413": (refused(413), "http", "no", True),
    "isolated: 429": (refused(429, retry_after="7"), "http", "no", True),
    "isolated: 303": (refused(303), "http", "maybe", True),
    "isolated: 400": (refused(400), "http", "maybe", True),
    "isolated: 404": (refused(404), "http", "maybe", True),
    "isolated: 409": (refused(409), "http", "maybe", True),
    "isolated: 422": (refused(422), "http", "maybe", True),
    "isolated: 408": (refused(408), "http", "maybe", True),
    "isolated: 500": (refused(500), "http", "maybe", True),
    "isolated: 503": (refused(503), "http", "maybe", True),
    "isolated: no answer in time": (answered(call_failed(httpx2.ReadTimeout("x"))), "timeout", "maybe", True),
    "isolated: cut while reading": (answered(call_failed(httpx2.ReadError("x"))), "broken", "maybe", True),
    "isolated: cut off": (answered(call_failed(httpx2.RemoteProtocolError("x"))), "broken", "maybe", True),
    "isolated: too large": (answered(too_large(4096)), "too_large", "yes", False),
    "isolated: the session is forgotten": (answered(session_forgotten()), "session", "no", True),
    "isolated: no descriptors left here": (
        answered(call_failed(caused(httpx2.ConnectError("x"), OSError(24, "Too many open files")))),
        "resources",
        "no",
        True,
    ),
    "isolated: not JSON": (answered(unsendable()), "unsendable", "no", False),
    "lost in flight": (MCPError(-32000, "Connection closed"), "lost", "maybe", True),
    "event stream cut": (MCPError(-32000, "SSE stream ended without a response"), "broken", "maybe", True),
    "timeout": (MCPError(-32001, "Request 'tools/call' timed out"), "timeout", "maybe", True),
    "cancelled by the transport": (asyncio.CancelledError(), "cancelled", "maybe", True),
    "connect: refused": (ExceptionGroup("g", [httpx2.ConnectError("x")]), "refused", "no", True),
    "connect: refused by the system": (ConnectionRefusedError(111, "Connection refused"), "refused", "no", True),
    "connect: no such command": (FileNotFoundError(2, "No such file"), "not_found", "no", False),
    "connect: not executable": (PermissionError(13, "Permission denied"), "permission", "no", False),
    "connect: host unknown": (socket.gaierror(-2, "Name or service not known"), "dns", "no", True),
    "connect: the process exits": (
        ExceptionGroup("g", [ExceptionGroup("g", [MCPError(-32000, "Connection closed")])]),
        "lost",
        "maybe",
        True,
    ),
    "connect: the process is silent": (
        ExceptionGroup("g", [ExceptionGroup("g", [MCPError(-32001, "timed out")])]),
        "timeout",
        "maybe",
        True,
    ),
    "connect: the transport says why": (
        MCPConnectionError("cannot connect", {"cause": "tls", "retryable": False}),
        "tls",
        "no",
        False,
    ),
    "connect: the transport says little": (MCPConnectionError("cannot connect"), "unreachable", "no", True),
    "connect: bad options": (ConfigurationError("no such option"), "configuration", "no", False),
    "connect: bare 401": (status_error(401), "auth", "no", False),
    "connect: bare 404": (status_error(404), "http", "maybe", True),
    "connect: bare 429": (status_error(429), "http", "no", True),
    "connect: no descriptors left here": (
        caused(httpx2.ConnectError("x"), OSError(24, "Too many open files")),
        "resources",
        "no",
        True,
    ),
    "connect: bare 503": (status_error(503), "http", "maybe", True),
    "bare no connection in time": (httpx2.ConnectTimeout("x"), "timeout", "no", True),
    "bare no room in the pool": (httpx2.PoolTimeout("x"), "timeout", "no", True),
    "bare no answer in time": (httpx2.ReadTimeout("x"), "timeout", "maybe", True),
    "bare cut": (httpx2.ReadError("x"), "lost", "maybe", True),
    "bare cut while decoding": (httpx2.DecodingError("x"), "lost", "maybe", True),
    "reset": (ConnectionResetError(104, "Connection reset by peer"), "lost", "maybe", True),
    "broken pipe": (BrokenPipeError(32, "Broken pipe"), "lost", "maybe", True),
    "stream closed": (anyio.ClosedResourceError(), "lost", "maybe", True),
    "stream broken": (anyio.BrokenResourceError(), "lost", "maybe", True),
    "stream ended": (anyio.EndOfStream(), "lost", "maybe", True),
    "write not accepted in time": (TimeoutError(), "timeout", "maybe", True),
    "TLS": (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"), "tls", "maybe", True),
    "TLS certificate": (ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]"), "tls", "maybe", True),
    "no descriptors left here": (OSError(24, "Too many open files"), "resources", "maybe", True),
    "other error of the system": (OSError(28, "No space left on device"), "unreachable", "maybe", True),
    "peer: unknown method": (MCPError(-32601, "Method not found"), "rejected", "no", False),
    "peer: invalid parameters, perhaps of what the tool did": (MCPError(-32602, "Invalid"), "rejected", "maybe", False),
    "peer: unknown resource, older servers": (MCPError(-32002, "Unknown resource"), "rejected", "maybe", False),
    "peer: header mismatch": (MCPError(-32020, "Header mismatch"), "rejected", "no", False),
    "peer: capability missing": (MCPError(-32021, "Missing capability"), "rejected", "no", False),
    "peer: capability missing, and nonsense about it": (
        MCPError(-32021, "Missing capability", {"requiredCapabilities": [1]}),
        "rejected",
        "no",
        False,
    ),
    "peer: version unknown": (MCPError(-32022, "Unsupported protocol version"), "rejected", "no", False),
    "peer: invalid request": (MCPError(-32600, "Redirect not followed"), "rejected", "maybe", False),
    "peer: internal error": (MCPError(-32603, "Internal server error"), "rejected", "yes", True),
    "peer: uncaught exception, legacy": (MCPError(0, "list index out of range"), "rejected", "yes", True),
    "peer: a code of its own that is also ours": (MCPError(1000, "half done"), "rejected", "yes", True),
    "peer: words about a session": (MCPError(-32600, "Session not found"), "rejected", "maybe", False),
    "peer: what looks like ours": (
        MCPError(TRANSPORT_ERROR, "half done", {"kind": "http", "delivered": "no"}),
        "rejected",
        "yes",
        True,
    ),
    "peer: what looks more like ours": (
        MCPError(TRANSPORT_ERROR, "half done", {"kind": "session", "delivered": "no", "token": "0" * 32}),
        "rejected",
        "yes",
        True,
    ),
    "unparsable answer": (MCPError(-32700, "Parse error"), "protocol", "maybe", True),
    "malformed answer": (invalid(), "protocol", "maybe", True),
    "output missing": (
        RuntimeError("Tool t has an output schema but did not return structured content"),
        "invalid_output",
        "yes",
        True,
    ),
    "output mismatch": (
        RuntimeError("Invalid structured content returned by tool t: 5 is not of type 'string'"),
        "invalid_output",
        "yes",
        True,
    ),
    "output schema broken": (RuntimeError("Invalid schema for tool t: loop"), "invalid_output", "yes", True),
    "something else with an output": (RuntimeError("no output device"), "unexpected", "maybe", True),
    "something else": (KeyError("x"), "unexpected", "maybe", True),
}


@pytest.mark.parametrize("row", ROWS)
def test_every_way_to_fail_has_its_word_and_says_whether_it_was_delivered(row):
    error, cause, delivered, retryable = ROWS[row]
    fault = fault_of(error)
    assert (fault.cause, fault.delivered, fault.retryable) == (cause, delivered, retryable)
    assert fault.reason


@pytest.mark.parametrize("row", ROWS)
def test_it_does_not_matter_how_deep_in_groups_it_is(row):
    error, *_ = ROWS[row]
    group = BaseExceptionGroup("a", [BaseExceptionGroup("b", [error])])
    assert fault_of(group) == fault_of(error)


def test_only_what_ends_the_connection_is_said_to_end_it():
    ends = {row for row, (error, *_) in ROWS.items() if fault_of(error).connection_lost}
    assert ends == {
        "isolated: the session is forgotten",
        "lost in flight",
        "connect: the process exits",
        "bare cut",
        "bare cut while decoding",
        "reset",
        "broken pipe",
        "stream closed",
        "stream broken",
        "stream ended",
    }


@pytest.mark.parametrize("text", ["Connection closed", "", "Connection closed by my own upstream"])
def test_a_server_that_speaks_of_a_closed_connection_does_not_close_ours(text):
    fault = fault_of(MCPError(-32000, text), closed=False)
    assert (fault.cause, fault.delivered, fault.connection_lost, fault.code) == ("broken", "maybe", False, -32000)
    assert fault.reason == (text or "error -32000")


def test_a_server_that_speaks_of_a_timeout_before_our_own_is_taken_by_its_word():
    fault = fault_of(MCPError(-32001, "Request timed out at the bank"), overdue=False)
    assert (fault.cause, fault.delivered, fault.code) == ("rejected", "yes", -32001)
    assert fault.reason == "Request timed out at the bank"


def test_facts_of_http_are_kept():
    assert fault_of(refused(429, retry_after="7")).context() == {
        "cause": "http",
        "retryable": True,
        "delivered": "no",
        "status": 429,
        "retry_after": "7",
    }
    context = {"cause": "http", "retryable": True, "status": 503, "retry_after": "3"}
    assert fault_of(MCPConnectionError("busy", context)).context() == {**context, "delivered": "no"}
    assert fault_of(status_error(503, **{"retry-after": "3"})).context() == {**context, "delivered": "maybe"}


def test_the_code_that_the_sdk_gives_its_own_timeout_is_not_taken_for_the_servers():
    assert "code" not in fault_of(MCPError(-32001, "Request timed out")).context()


def test_the_code_of_a_peers_error_is_kept():
    assert fault_of(MCPError(-32603, "no")).context()["code"] == -32603


@pytest.mark.parametrize(
    ("cause", "word"),
    [(ssl.SSLError(1, "x"), "tls"), (socket.gaierror(-2, "x"), "dns"), (ConnectionRefusedError(), "refused")],
)
def test_what_kept_from_connecting_is_looked_for_behind_the_libraries_in_between(cause, word):
    fault = fault_of(caused(httpx2.ConnectError("x"), Exception("in between"), cause))
    assert (fault.cause, fault.delivered) == (word, "no")


def test_a_circle_of_causes_has_an_end():
    one, other = httpx2.ConnectError("x"), OSError("y")
    one.__cause__, other.__cause__ = other, one
    assert fault_of(one).cause == "refused"


DULL_TO_TELLING = [
    asyncio.CancelledError(),
    anyio.ClosedResourceError(),
    RuntimeError("Attempted to exit cancel scope in a different task than it was entered in"),
    FileNotFoundError(2, "No such file"),
    MCPConnectionError("refused the credentials", {"cause": "auth"}),
]


@settings(deadline=None)  # a busy machine is no fault
@given(st.sets(st.integers(0, len(DULL_TO_TELLING) - 1), min_size=1), st.data())
def test_the_most_telling_leaf_wins(chosen, data):
    leaves = [DULL_TO_TELLING[index] for index in data.draw(st.permutations(sorted(chosen)))]
    cut = data.draw(st.integers(0, len(leaves)))
    inner = [BaseExceptionGroup("inner", leaves[cut:])] if leaves[cut:] else []
    assert fault_of(BaseExceptionGroup("outer", leaves[:cut] + inner)) == fault_of(DULL_TO_TELLING[max(chosen)])


def test_s6_a_malformed_answer_is_explained_by_its_place_not_by_its_value():
    error = invalid(value={"content": [{"type": "text", "text": {"token": "s3cret"}}]})
    assert "s3cret" in str(error)
    assert "content.0" in fault_of(error).reason
    assert "s3cret" not in fault_of(error).reason


def test_only_the_first_line_of_what_others_say_is_shown():
    for error in (MCPError(-32603, " out of\tdisk\nTraceback"), ValueError("\nout of\tdisk\r\nat 5")):
        assert fault_of(error).reason.endswith("out of disk")


class SpeechlessError(Exception):
    def __str__(self):
        raise RecursionError


def misplaced(name):
    """A validation error at a place with that name."""
    model = create_model("Answer", __base__=BaseModel, **{name: (int, ...)})
    return invalid(model, {name: "x"})


TEXTS = st.text() | st.text(alphabet="ab\n\r\x1b\x85\u2028 ", min_size=200, max_size=2000)
CODES = [1000, 0, -32000, -32001, -32002, -32600, -32601, -32602, -32603, -32700]
FACTS = ["kind", "delivered", "status", "retry_after", "cause", "retryable"]
CONTEXTS = st.dictionaries(st.sampled_from(FACTS), st.none() | st.text(max_size=9) | st.integers())
ODD = [SpeechlessError(), asyncio.CancelledError(), StopIteration(), ssl.SSLError(), TimeoutError(), Exception()]
LEAVES = st.one_of(
    st.builds(MCPError, st.sampled_from(CODES), TEXTS, st.none() | st.text() | CONTEXTS),
    st.builds(MCPConnectionError, TEXTS, CONTEXTS),
    st.builds(OSError, TEXTS),
    st.builds(OSError, st.integers(0, 140), TEXTS | st.integers()),
    st.builds(ConfigurationError, TEXTS),
    st.builds(RuntimeError, TEXTS),
    st.builds(UnicodeDecodeError, st.just("utf-8"), st.binary(), st.just(0), st.just(1), TEXTS),
    st.builds(httpx2.ReadError, TEXTS),
    st.builds(status_error, st.integers(100, 599)),
    st.sampled_from(ODD),
    st.just(ValidationError.from_exception_data("empty", [])),
    st.builds(misplaced, st.text("ab", min_size=1, max_size=900)),
)
GROUPS = st.recursive(
    LEAVES, lambda inner: st.builds(BaseExceptionGroup, TEXTS, st.lists(inner, min_size=1)), max_leaves=5
)


@settings(deadline=None)  # a busy machine is no fault
@given(GROUPS)
def test_whatever_is_raised_becomes_one_short_line(error):
    fault = fault_of(error)
    assert 0 < len(fault.reason) <= 300
    assert fault.reason.isprintable()
    assert fault.cause
    assert fault.delivered in {"no", "maybe", "yes"}
    assert fault.status is None or isinstance(fault.status, int)
    assert fault.retry_after is None or isinstance(fault.retry_after, str)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(1, "1 s"), (0.9987, "1 s"), (0.5, "0.5 s"), (0.0004, "0.01 s"), (29.999, "30 s"), (600, "600 s")],
)
def test_a_time_is_shown_as_it_was_given_although_some_of_it_has_passed(seconds, shown):
    assert in_seconds(seconds) == shown
