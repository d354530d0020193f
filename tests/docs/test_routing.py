"""What the page about routing says is what the code does."""

import re
from pathlib import Path

import pytest
import yaml
from mcp_orchestra import MCPOrchestrator, PluginManager, ToolCallError
from mcp_orchestra.config.models import OrchestrationConfig
from mcp_orchestra.failover import Purpose, may_ask_another

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "routing.md").read_text(encoding="utf-8")
PURPOSES: tuple[Purpose, ...] = ("read", "owned read", "call", "safe call")

# Each row of the table about failures, and what it looks like here.
FAILURES = {
    "was not delivered": {"cause": "refused", "delivered": "no"},
    "may have been carried out": {"cause": "timeout", "delivered": "maybe"},
    "failed inside of the server": {"cause": "rejected", "code": -32603, "delivered": "yes"},
    "was refused by the server's own word": {"cause": "rejected", "code": -32602, "delivered": "maybe"},
}


def rows(first_cell: str) -> list[list[str]]:
    """Return the cells of the rows of a table, by the first cell of its head."""
    table = re.search(rf"^\| {first_cell} \|.*\n\|-.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def test_the_table_of_failures_is_the_codes() -> None:
    table = {cells[0].partition(":")[0]: cells[1:] for cells in rows("the failed request")}
    assert table.keys() == FAILURES.keys() | {"is a result with `is_error`"}
    for failure, context in FAILURES.items():
        goes_on = [may_ask_another(purpose, ToolCallError("", context)) for purpose in PURPOSES]
        assert table[failure] == ["next" if may else "error" for may in goes_on]


@pytest.mark.parametrize("page", ["routing.md", "../plugins/routing/README.md"])
def test_the_policies_are_those_that_are_offered(page: str) -> None:
    manager = PluginManager()
    manager.discover()
    (routing,) = [info for info in manager.installed() if info.name == "routing"]
    text = (DOCS / page).read_text(encoding="utf-8")
    assert [f"routing policy {name}" for name in re.findall(r"^\| `([a-z-]+)`", text, re.MULTILINE)] == list(
        routing.offers
    )


def test_the_examples_are_valid_configurations(tmp_path: Path) -> None:
    first, second = (
        yaml.safe_load(code) for code in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    )
    assert (
        OrchestrationConfig.model_validate(first["orchestration"]).routing.domains["products"].policy == "round-robin"
    )
    file = tmp_path / "mcp_config.yaml"
    file.write_text(yaml.safe_dump({**second, **first}), encoding="utf-8")
    orchestrator = MCPOrchestrator(file)
    orchestrator.load_configuration()
    assert orchestrator.config is not None
    assert orchestrator.config.mcp_servers["search"].safe_tools == ["search"]
    assert orchestrator.config.mcp_servers["search"].may_repeat("search")
    assert not orchestrator.config.mcp_servers["search"].may_repeat("pay")
