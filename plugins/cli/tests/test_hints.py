"""Hints fit what the library says; what it says about servers that can be had here is in test_check."""

import socket
import ssl

import httpx2
import pytest
from mcp_orchestra.http.failures import connection_failed, connection_refused, redirected
from mcp_orchestra_cli.hints import hint, troubles

URL = "https://proxy.example.com/redirects/mcp"


def _from(cause: Exception) -> httpx2.ConnectError:
    error = httpx2.ConnectError("their words")
    error.__cause__ = cause
    return error


def _untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("their words")
    error.verify_code = 18
    return error


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (_from(socket.gaierror(-2, "x")), "host name"),
        (_from(_untrusted()), "ca_file"),
        (_from(ssl.SSLError("x")), "https"),
        (_from(ConnectionRefusedError()), "is the server running"),
        (httpx2.ConnectError("x"), "firewall"),
        (httpx2.ConnectTimeout("x"), "raise timeout"),
        (httpx2.ReadTimeout("x"), "raise timeout"),
        (httpx2.ProxyError("x"), "NO_PROXY"),
        (httpx2.ReadError("x"), "look at its own log"),
        (httpx2.RemoteProtocolError("x"), "look at its own log"),
    ],
)
def test_a_failed_connection_has_a_hint(error, advice):
    assert advice in _advice(connection_failed(error, URL).message)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "Authorization"),
        (403, "Authorization"),
        (404, "path"),
        (405, "path"),
        (429, "too often"),
        (503, "own log"),
    ],
)
def test_a_refused_connection_has_a_hint(status, advice):
    assert advice in _advice(connection_refused(httpx2.Response(status), URL).message)


def test_a_redirect_has_a_hint():
    assert "redirects" in _advice(redirected(httpx2.URL("https://example.com/"), 302, URL).message)


def test_what_nobody_foresaw_has_none():
    assert hint({"state": "failed", "error": "another plug-in's own words about https://certificate/"}) is None
    assert hint({"state": "pending", "error": None}) is None


def test_last_words_are_shown_once_however_often_they_were_said():
    server = {
        "id": "a",
        "state": "backing_off",
        "error": "x",
        "connected": False,
        "stderr": ["no", "no", "never", "no"],
    }
    assert list(troubles(server)) == ["a: x", "  stderr: no", "  stderr: never"]


def _advice(message: str) -> str:
    return hint({"state": "backing_off", "error": message}) or ""
