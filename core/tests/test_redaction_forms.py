"""S6: a secret is hidden however it is written."""

import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra.redaction import MASK, Redactor

AWKWARD = 'pa"ss\\wörd /+&?=%'


@pytest.mark.parametrize(
    "written",
    [
        AWKWARD,
        json.dumps(AWKWARD)[1:-1],
        json.dumps(AWKWARD, ensure_ascii=False)[1:-1],
        quote(AWKWARD),
        quote(AWKWARD, safe=""),
        quote_plus(AWKWARD),
        quote_plus(AWKWARD, safe="/"),
    ],
)
def test_s6_a_secret_within_json_or_a_url_is_hidden(written):
    assert Redactor([AWKWARD])(f"-{written}-") == f"-{MASK}-"


def test_s6_the_lines_of_a_secret_are_hidden_in_their_written_forms_too():
    key = "-----BEGIN KEY-----\nMIIE+QIB/DANBg==\n-----END KEY-----\n"
    redact = Redactor([key])
    assert redact(json.dumps({"key": key})) == f'{{"key": "{MASK}"}}'
    assert redact(urlencode({"line": "MIIE+QIB/DANBg=="})) == f"line={MASK}"


@given(st.lists(st.text(min_size=3, alphabet=st.characters(exclude_characters="*"))))
def test_s6_any_secret_is_hidden_in_json_and_urls(secrets):
    redact = Redactor(secrets)
    for secret in secrets:
        assert redact(json.dumps(secret)) == f'"{MASK}"'
        assert redact(quote(secret, safe="", errors="surrogatepass")) == MASK
