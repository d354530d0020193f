"""What may stand in the options of a transport over HTTP."""

import pytest
from mcp_orchestra.http import HttpOptions
from mcp_orchestra.http.auth.options import ClientCredentialsAuth
from pydantic import ValidationError

URL = "https://example.org/mcp"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/mcp",
        "https://example.org",
        "HTTPS://[::1]:8443/a/b?key=1",
        "https://user:pass@example.org/mcp",
    ],
)
def test_an_http_address_with_a_host_is_accepted(url: str):
    assert HttpOptions(url=url).url == url


def test_a_host_has_one_name_whatever_its_script_so_that_the_configured_one_is_known_when_it_is_connected_to():
    options = HttpOptions(url="http://us:pässword@bücher。example:8080/ä?key=ö")
    assert options.url == "http://us:p%C3%A4ssword@xn--bcher-kva.example:8080/%C3%A4?key=%C3%B6"
    auth = {
        "type": "oauth-client-credentials",
        "client_id": "us",
        "client_secret": "s",
        "token_url": "https://ß.example",
    }
    other = HttpOptions.model_validate({"url": URL, "auth": auth}).auth
    assert isinstance(other, ClientCredentialsAuth)
    assert other.token_url == "https://xn--zca.example"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ftp://example.org/", "http:// or https://"),
        ("example.org/mcp", "http:// or https://"),
        ("", "http:// or https://"),
        ("https:///mcp", "must name a host"),
        ("https://:443/mcp", "must name a host"),
        ("https://example.org:0/mcp", "must name a host"),
        ("https://example.org:99999/mcp", "not a valid URL"),
        ("https://[::1/mcp", "not a valid URL"),
        ("https://example.org/a b", "spaces or control characters"),
        ("https://example.org/\nmcp", "spaces or control characters"),
        ("https://①②⑦.0.0.1/mcp", "must name a host that exists"),
    ],
)
def test_another_address_is_refused_with_what_is_expected(url: str, expected: str):
    with pytest.raises(ValidationError, match=expected):
        HttpOptions(url=url)


def test_the_address_is_required():
    with pytest.raises(ValidationError, match="url"):
        HttpOptions.model_validate({})


def test_an_unknown_option_is_refused():
    with pytest.raises(ValidationError, match="header"):
        HttpOptions.model_validate({"url": URL, "header": {}})


def test_headers_of_any_legal_name_and_value_are_accepted():
    headers = {"X-Api-Key": "s3cret/+=", "authorization": "Bearer a b\tc", "x!#$%&'*+-.^_`|~9": "", "Cookie": "a=1"}
    assert HttpOptions(url=URL, headers=headers).headers == headers


@pytest.mark.parametrize("name", ["", "a b", "x:y", "naïve", "x\r\ny", "(x)"])
def test_an_illegal_header_name_is_refused_by_name(name: str):
    with pytest.raises(ValidationError) as caught:
        HttpOptions(url=URL, headers={name: "v"})
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["canary\r\nx: y", "canary\n", "canary\0", "canary é", "canary \N{SNOWMAN}", " canary", "canary\t", "\x7fcanary"],
)
def test_s6_an_illegal_header_value_is_refused_by_the_name_of_its_header_and_never_shown(value: str):
    with pytest.raises(ValidationError) as caught:
        HttpOptions(url=URL, headers={"X-Key": value})
    assert "'X-Key'" in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "Connection", "Mcp-Session-Id", "MCP-Protocol-Version", "Accept"],
)
def test_a_header_that_the_transport_sets_itself_is_refused(name: str):
    with pytest.raises(ValidationError, match="set by the transport"):
        HttpOptions(url=URL, headers={name: "v"})


def test_a_header_given_twice_in_different_case_is_refused():
    with pytest.raises(ValidationError, match="given twice"):
        HttpOptions(url=URL, headers={"X-Key": "a", "x-key": "b"})


def test_a_header_value_must_be_a_text():
    with pytest.raises(ValidationError, match="headers"):
        HttpOptions.model_validate({"url": URL, "headers": {"X-Count": 5}})


def test_s6_the_representation_holds_no_secret():
    address = "https://u:canary1@canary2.example.org/canary3?key=canary4"
    options = HttpOptions(url=address, headers={"X-Key": "canary5"})
    assert "canary" not in repr(options) + str(options)
    assert "X-Key" in repr(options)
