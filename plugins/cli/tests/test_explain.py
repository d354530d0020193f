"""`explain`: who would be asked, in which order, who would not, and why."""

import re

import pytest

PAIR = {"alpha": {"priority": 9, "domains": ["x"], "capabilities": ["c"]}, "beta": {"priority": 1, "domains": ["x"]}}
DOWN = {"transport": "stdio", "command": "no-such-program", "priority": 1, "domains": ["x"]}


def test_a_domain_is_explained_to_a_person(cli, configured):
    configured(**PAIR, down=DOWN, nasty={})
    shown = cli("explain", "--domain", "x")
    assert shown.code == 0
    assert "Asked in this order (policy priority):" in shown.out
    places = re.findall(r"^(\d) +(\w+) +(\w+) +(\d) +1 +0 +\S.* declares the domain$", shown.out, re.MULTILINE)
    assert places == [("1", "beta", "ready", "1"), ("2", "down", "failed", "1"), ("3", "alpha", "ready", "9")]
    assert re.search(r"^down +not connected \(failed\): ", shown.out, re.MULTILINE)
    assert re.search(r"^nasty +does not declare the domain 'x'$", shown.out, re.MULTILINE)
    assert shown.out.endswith("\nbeta would answer: the first in this order that can be asked: declares the domain\n")


def test_a_program_gets_the_librarys_explanation(cli, configured):
    configured(**PAIR)
    shown = cli("explain", "--capability", "c", "--key", "user 7", "--json")
    assert (shown.code, shown.err) == (0, "")
    document = shown.document
    assert document["question"] == {"kind": "capability", "value": "c", "key": "user 7"}
    assert (document["policy"], document["answers"]) == ("priority", "alpha")
    (alpha,) = document["candidates"]
    assert (alpha["server_id"], alpha["name"], alpha["priority"], alpha["usable"]) == ("alpha", "Alpha", 9, True)
    assert document["left_out"] == {"beta": "does not declare the capability 'c'"}


def test_a_uri_leads_to_the_server_that_lists_it(cli, configured):
    configured(**PAIR)
    document = cli("explain", "--uri", "res://alpha/plain", "--json").document
    assert document["answers"] == "alpha"
    assert [(one["server_id"], one["because"]) for one in document["candidates"]] == [
        ("alpha", "lists it"),
        ("beta", "may have it"),
    ]


def test_a_tool_that_several_offer_needs_more_to_go_by(cli, configured):
    configured(**PAIR)
    refused = cli("explain", "--tool", "echo", "--json")
    assert refused.code == 3
    assert refused.document["answers"] is None
    assert "call beta__echo, alpha__echo, or give server=" in refused.document["why"]
    named = cli("explain", "--tool", "alpha__echo", "--json")
    assert (named.code, named.document["answers"]) == (0, "alpha")


def test_nobody_is_an_answer_too(cli, configured):
    configured(**PAIR)
    shown = cli("explain", "--domain", "nowhere")
    assert shown.code == 3
    assert "nobody would answer: no enabled server declares the domain 'nowhere'; known domains: x" in shown.out


@pytest.mark.parametrize("given", [(), ("--domain", "x", "--tool", "t")])
def test_exactly_one_question_is_explained(cli, configured, given):
    configured(**PAIR)
    ended = cli("explain", *given)
    assert ended.code == 2
    assert "give exactly one of --domain, --capability, --uri and --tool" in ended.err
