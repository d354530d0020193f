"""Where a server may make us connect to."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra.addresses import AddressRules, literal_address

INSIDE = [
    "127.0.0.1",
    "127.255.0.9",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",  # CGNAT
    "0.0.0.0",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%lo",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "100::1",
    "::127.0.0.1",  # IPv4-compatible
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2002:a00:1::1",
    "64:ff9b::127.0.0.1",  # NAT64
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo with a client at 127.0.0.1
]
PUBLIC = ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8", "2002:808:808::1"]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_is_not_public_is_refused(address):
    problem = AddressRules().problem("far.example", 443, [address])
    assert problem is not None
    assert problem.startswith("blocked address: far.example is at ")
    assert "orchestration.security.allowed_networks" in problem


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_not(address):
    assert AddressRules().problem("far.example", 443, [address]) is None


def test_one_address_inside_among_public_ones_is_enough():
    assert AddressRules().problem("far.example", 443, ["8.8.8.8", "10.0.0.1"]) is not None


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::1"])
def test_an_allowed_network_lets_its_addresses_through_however_they_are_written(address):
    rules = AddressRules([ip_network("10.1.0.0/16")])
    assert rules.problem("far.example", 443, [address]) is None
    assert rules.problem("far.example", 443, [address, "10.2.0.1"]) is not None


def test_a_configured_host_may_be_anywhere():
    rules = AddressRules()
    rules.configured("http://127.0.0.1:8000/mcp")
    rules.configured("https://tools.corp.example/mcp")
    assert rules.problem("127.0.0.1", 8000, ["127.0.0.1"]) is None
    assert rules.problem("tools.corp.example", 443, ["10.0.0.1"]) is None
    assert rules.problem("TOOLS.corp.example.", 443, ["10.0.0.2", "8.8.8.8"]) is None


def test_another_port_of_a_configured_host_is_another_server():
    rules = AddressRules()
    rules.configured("http://127.0.0.1:8000/mcp")
    assert rules.problem("127.0.0.1", 6379, ["127.0.0.1"]) is not None


def test_a_configured_host_may_upgrade_to_https():
    rules = AddressRules()
    rules.configured("http://tools.corp.example/mcp")
    assert rules.problem("tools.corp.example", 443, ["10.0.0.1"]) is None


def test_a_configured_host_that_was_public_must_not_become_private():
    rules = AddressRules()
    rules.configured("https://tools.example/mcp")
    assert rules.problem("tools.example", 443, ["8.8.8.8"]) is None
    assert rules.problem("tools.example", 443, ["169.254.169.254"]) is not None
    assert rules.problem("tools.example", 443, ["8.8.4.4"]) is None


def test_the_https_upgrade_of_a_configured_host_that_was_public_must_not_become_private():
    rules = AddressRules()
    rules.configured("http://tools.example/mcp")
    assert rules.problem("tools.example", 80, ["8.8.8.8"]) is None
    assert rules.problem("tools.example", 443, ["169.254.169.254"]) is not None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("[::1]", "::1"),
        ("localhost", "127.0.0.1"),
        ("LOCALHOST.", "127.0.0.1"),
        ("a.localhost", "127.0.0.1"),
        ("example.org", None),
        ("127.0.0.1.example.org", None),
        ("", None),
    ],
)
def test_an_address_is_known_however_it_is_written(host, address):
    assert literal_address(host) == address


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_treated_as_the_one_within(address):
    refused = AddressRules().problem("h", 1, [str(address)]) is not None
    high, low = divmod(int(address), 65536)
    for written in (f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{high:x}:{low:x}::"):
        assert (AddressRules().problem("h", 1, [written]) is not None) == refused
