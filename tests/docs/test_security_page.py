"""What the page about security names is so; the behaviour itself is tested where it is."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml
from mcp_orchestra import MCPConfig
from mcp_orchestra.addresses import AddressRules
from mcp_orchestra.config.loader import bind_config

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "security.md").read_text(encoding="utf-8")
BLOCKS = [
    block
    for name in ("security.md", "reference/configuration.md")
    for block in re.findall(r"```yaml\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL)
    if "security:" in block or "auth:" in block
]


def refused_on_the_page() -> list[str]:
    (sentence,) = re.findall(r"Refused are (.*?)however they are written", PAGE, re.DOTALL)
    return re.findall(r"`([0-9a-f:./]+)`", sentence)


@pytest.mark.parametrize("named", refused_on_the_page())
def test_every_network_that_the_page_names_is_refused(named):
    network = ip_network(named)
    for address in (network.network_address, network.broadcast_address, ip_address(int(network[0]) | 1)):
        assert AddressRules().problem("far.example", 443, [str(address)]) is not None


def test_the_page_names_networks_at_all():
    assert len(refused_on_the_page()) >= 8


@pytest.mark.parametrize("block", BLOCKS)
def test_what_the_pages_say_to_write_can_be_written(block):
    document = yaml.safe_load(block)
    bind_config(MCPConfig.model_validate(document), tool_pins=False)  # the file is the reader's
    assert len(BLOCKS) == 4
