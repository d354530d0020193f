"""S6: no secret comes through, however it overlaps with others and wherever a text was cut."""

from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mcp_orchestra.redaction import MASK, Redactor, safe_url

# Few letters, so that secrets contain and overlap each other; no asterisk, which the mask itself is made of.
SECRET = st.text(alphabet="abc", min_size=3, max_size=6)
SECRETS = st.lists(SECRET, max_size=5)
TEXT = st.text(alphabet="abcd", max_size=30)


@settings(deadline=None)  # a busy machine is no fault
@given(SECRETS, TEXT)
def test_s6_no_secret_survives_in_any_text(secrets, text):
    shown = Redactor(secrets)(text)
    assert [secret for secret in secrets if secret in shown] == []


@settings(deadline=None)  # a busy machine is no fault
@given(SECRETS, TEXT)
def test_s6_no_letter_of_a_secret_survives(secrets, text):
    """What is left are the letters that belong to no secret, in their order."""
    hidden = {
        index
        for secret in secrets
        for start in range(len(text))
        if text.startswith(secret, start) or (secret.startswith(text[start:]) and len(text) - start >= 4)
        for index in range(start, start + len(secret))
    }
    left = "".join(letter for index, letter in enumerate(text) if index not in hidden)
    assert Redactor(secrets)(text).replace(MASK, "") == left


@settings(deadline=None)  # a busy machine is no fault
@given(st.lists(st.text(min_size=3)), st.text())
def test_s6_any_secret_in_any_text(secrets, text):
    redact = Redactor(secrets)
    shown = redact(text.join(secrets))
    assert [secret for secret in secrets if secret in shown and "*" not in secret] == []


@settings(deadline=None)  # a busy machine is no fault
@given(TEXT)
def test_a_text_without_secrets_stays_as_it_is(text):
    assert Redactor(["xyz", "x"])(text) == text
    assert Redactor()(text) == text


@settings(deadline=None)  # a busy machine is no fault
@given(SECRET, st.integers(4, 6), TEXT)
def test_s6_a_secret_that_was_cut_off_by_the_end_of_a_text_is_hidden(secret, length, text):
    beginning = secret[:length]
    assume(len(beginning) >= 4)
    assert not Redactor([secret])(text + beginning).endswith(beginning)


def test_s6_secrets_that_overlap_are_hidden_together():
    assert Redactor(["abcdef", "defxyz"])("-abcdefxyz-") == "-***-"


def test_s6_a_secret_within_another_does_not_uncover_the_rest_of_it():
    assert Redactor(["token", "Bearer token", "my-Bearer token!"])("(my-Bearer token!)") == "(***)"


def test_one_or_two_letters_are_no_secret():
    assert Redactor(["a", "ab", ""])("abba") == "abba"


def test_s6_a_secret_of_several_lines_is_hidden_line_by_line():
    key = "-----BEGIN KEY-----\r\n  c2VjcmV0LXNlY3JldA\n}\n-----END KEY-----\n"
    redact = Redactor([key])
    assert redact(f"key {key}!") == "key ***!"
    assert [redact(line) for line in key.splitlines()] == ["***", "  ***", "}", "***"]


@pytest.mark.parametrize("secret", ["***", "a***", "***b", "a***b", "****"])
def test_a_secret_that_looks_like_the_mask_does_no_harm(secret):
    redact = Redactor([secret, "hunter2"])
    assert redact(f"-{secret}-") == "-***-"
    assert redact("-hunter2-") == "-***-"
    assert redact("ahunter2b") == "a***b"


USERINFO = st.text(alphabet=st.characters(exclude_characters="/?#[]@\\\t\r\n", exclude_categories=["Cs", "Cc"]))
ANYTHING = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
SCHEMES = st.sampled_from(["http://", "https://", "tcp://", "HTTP://", "//"])
CANARY = "c4n4ry"


@settings(deadline=None)  # a busy machine is no fault
@given(SCHEMES, USERINFO, USERINFO, ANYTHING)
def test_s6_a_url_never_shows_its_user_info(scheme, before, after, rest):
    assert CANARY not in safe_url(f"{scheme}{before}{CANARY}{after}@host.example:8080/mcp{rest}")


@settings(deadline=None)  # a busy machine is no fault
@given(ANYTHING, ANYTHING, st.sampled_from("?#"))
def test_s6_a_url_never_shows_its_query_or_fragment(before, after, mark):
    assert CANARY not in safe_url(f"https://host.example/{before}{mark}{CANARY}{after}")
    assert CANARY not in safe_url(f"{before}{mark}{CANARY}{after}")


@settings(deadline=None)  # a busy machine is no fault
@given(st.text())
def test_whatever_is_given_as_a_url_can_be_shown(text):
    assert isinstance(safe_url(text), str)


@settings(deadline=None)  # a busy machine is no fault
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_s6_an_escaped_password_is_not_shown_either(password):
    assert CANARY not in safe_url(f"https://user:{quote(password + CANARY, safe='')}@host/mcp")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8080/mcp", "http://127.0.0.1:8080/mcp"),
        ("https://me:pw@host.example/mcp?key=k#f", "https://host.example/mcp?***"),
        ("https://host.example/@scope/mcp", "https://host.example/@scope/mcp"),
        ("http://[::1]:80/sse", "http://[::1]:80/sse"),
        ("", ""),
        ("localhost:9000", "localhost:9000"),
        ("http://[::1", "<invalid URL>"),
        ("http://me:p/w@host.example/mcp", "<invalid URL>"),
        ("http://me:p#w@host.example/mcp", "<invalid URL>"),
        ("http://me:p?w@host.example/mcp", "<invalid URL>"),
        ("me:pw@host.example/mcp", "<invalid URL>"),
        ("http:/me:pw@host.example/mcp", "<invalid URL>"),
        ("http:me:pw@host.example/mcp", "<invalid URL>"),
        ("http://user:12/34@host.example/mcp", "http://***"),
        ("http://user:12/@host.example/mcp", "http://***"),
        ("https://user/34@host.example/mcp", "https://***"),
        ("https://host.example:8443/mcp?user=me@host.example", "https://host.example:8443/mcp?***"),
    ],
)
def test_s6_what_is_shown_of_a_url(url, shown):
    assert safe_url(url) == shown


def test_s6_a_secret_that_is_learned_later_is_hidden_from_then_on():
    redact = Redactor(["hunter2"])
    assert redact("fresh token") == "fresh token"
    redact.learn("a", "fresh token")
    assert redact("a fresh token, and hunter2") == "a ***, and ***"


def test_s6_of_the_tokens_that_come_and_go_each_owner_s_latest_are_hidden():
    redact = Redactor()
    redact.learn("b", "another's token")
    for number in range(1000):
        redact.learn("a", f"token-{number:04}")
    assert redact("token-0999 token-0998 another's token") == "*** *** ***"
    assert redact("token-0001") == "token-0001"


@settings(deadline=None)  # a busy machine is no fault
@given(
    st.integers(0, 65535),
    st.text(alphabet=st.characters(exclude_characters="?#[]\\\t\r\n", exclude_categories=["Cs", "Cc"])),
)
def test_s6_a_password_with_a_slash_is_not_shown_even_where_it_looks_like_a_port(port, rest):
    assert CANARY not in safe_url(f"http://user:{port}/{rest}{CANARY}@host.example/mcp")
