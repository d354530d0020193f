"""`call`: arguments from a command line, results as text, failures as exit codes."""

import sys

import pytest


def test_the_result_is_printed(cli, configured):
    configured(alpha={})
    shown = cli("call", "echo", "text=5 apples")
    assert (shown.code, shown.out, shown.err) == (0, "alpha: 5 apples\n", "")


def test_arguments_take_the_kinds_that_the_tool_wants(cli, configured):
    configured(alpha={})
    assert cli("call", "slow", "seconds=0.001").out == "done\n"
    assert cli("call", "slow", "seconds:=0.001").out == "done\n"
    assert cli("call", "echo", "--args", '{"text": "object"}').out == "alpha: object\n"
    refused = cli("call", "slow", "seconds=soon")
    assert refused.code == 2
    assert "argument seconds: expected number" in refused.err


def test_a_tool_with_integer_arguments(cli, configured):
    module = ["-P", "-m", "mcp_orchestra_cli.demo.servers", "--role", "products"]
    configured(shop={"transport": "stdio", "command": sys.executable, "args": module})
    called = cli("call", "price", "sku=TEA-001", "quantity=2", "--json")
    assert called.code == 0
    assert called.document["is_error"] is False
    assert called.document["content"][0]["text"] == "13.00 EUR"
    assert called.document["structured_content"] == {"result": "13.00 EUR"}


def test_what_the_tool_reports_as_an_error_ends_with_5(cli, configured):
    configured(alpha={})
    ended = cli("call", "fail")
    assert (ended.code, ended.out, ended.err) == (5, "", "it failed\n")
    ended = cli("call", "fail", "--json")
    assert ended.code == 5
    assert ended.document["is_error"] is True


def test_an_unknown_tool_ends_with_4_and_names_near_ones(cli, configured):
    configured(alpha={})
    ended = cli("call", "ehco", "text=x", "--json")
    assert ended.code == 4
    assert ended.document["error"]["type"] == "ToolNotFoundError"
    assert "echo" in ended.document["error"]["message"]


def test_a_tool_of_two_servers_needs_a_choice(cli, configured):
    configured(alpha={}, beta={})
    ended = cli("call", "echo", "text=x")
    assert ended.code == 4
    assert "alpha__echo" in ended.err
    assert cli("call", "beta__echo", "text=x").out == "beta: x\n"
    assert cli("call", "echo", "text=x", "--server", "beta").out == "beta: x\n"


def test_a_result_that_does_not_come_ends_with_4_and_says_whether_the_tool_may_have_run(cli, configured):
    configured(alpha={})
    ended = cli("call", "slow", "seconds=30", "--timeout", "0.2", "--json")
    assert ended.code == 4
    assert ended.document["error"]["type"] == "ToolCallError"
    assert ended.document["error"]["context"]["delivered"] in {"maybe", "yes"}


@pytest.mark.parametrize("pair", ["nonsense", "=1"])
def test_an_argument_of_another_form_is_refused_before_connecting(cli, configured, pair):
    configured(down={"transport": "stdio", "command": "no-such-program"})
    ended = cli("call", "echo", pair, "--json")
    assert ended.code == 2
    assert "expected key=value" in ended.document["error"]["message"]
    assert ended.err == ""


def test_a_timeout_must_be_positive(cli, configured):
    configured(alpha={})
    assert cli("call", "echo", "--timeout", "0").code == 2
