"""What each server offers of what it lists: tools that are not as they were approved are left out, or reported."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, cast

from mcp_orchestra.config.tool_pins import ToolPins
from mcp_orchestra.connection.fault import one_line
from mcp_orchestra.derived import Derived
from mcp_orchestra.errors import ToolCallError
from mcp_orchestra.redaction import Redactor
from mcp_orchestra.registry import MCPServerInfo
from mcp_orchestra.tool_digest import TOOL_FIELDS, tool_digest

__all__ = ["NOTHING", "Offer", "Offers", "PinTrouble", "tools_in"]

logger: logging.Logger = logging.getLogger(__name__)

PinTrouble = Literal["changed", "new"]

_NAMED = 5
"""So many tools are named in a message; more than that is one cause seen many times."""
_LONGEST_NAME = 80


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What one server offered when its tools were last listed."""

    names: frozenset[str] = frozenset()
    """The tools that may be listed and called, by their own names: its claim on these names while it is down."""
    not_as_pinned: Mapping[str, PinTrouble] = field(default_factory=lambda: MappingProxyType({}))
    """The tools that are other ones than were approved, and those that never were."""


NOTHING = Offer()


class Offers:
    """What the servers offer, worked out once for each listing, whether that was fetched now or cached by others.

    Args:
        pins: The tools that were approved; without pins every tool is.
        redact: Makes what a server said fit to be shown.
    """

    def __init__(self, pins: ToolPins | None = None, redact: Redactor | None = None) -> None:
        self.pins = pins
        self.blocks: bool = pins is not None and pins.policy == "block"
        """Whether tools that are not as pinned are left out."""
        self._redact = redact or Redactor()
        self.derived: Derived[Offer] = Derived(self._look)
        """What was worked out, for a successor."""
        self.reported: dict[str, dict[str, str]] = {}
        """The digests (of new ones: nothing) of the tools of each server that were not as pinned, and were logged."""

    def of(self, server_id: str, listing: Mapping[str, Any]) -> Offer:
        """Return what a server offers that lists this."""
        return self.derived.of(server_id, listing)

    def known(self, server_id: str) -> bool:
        """Return whether a server's tools have been listed yet."""
        return self.derived.last(server_id) is not None

    def last(self, server_id: str) -> Offer:
        """Return what a server offered when its tools were last listed; nothing if they never were."""
        return self.derived.last(server_id) or NOTHING

    def adopt(self, other: "Offers", server_ids: Iterable[str]) -> None:
        """Know of these servers what another one knows of them, which may have had other pins."""
        self.reported = dict(other.reported)
        self.derived.adopt(other.derived, server_ids)

    def warning(self, server_id: str) -> str | None:
        """Return in one line what is not as pinned at a server, or None."""
        wrong = self.last(server_id).not_as_pinned
        return self._sentence(wrong) if wrong else None

    def refusals(self, servers: Iterable[MCPServerInfo], names: Sequence[str]) -> dict[str, str]:
        """Return by id why these servers' tools of one of these names were left out, and what to do about it."""
        asked = [(info.server_id, name) for info in servers for name in names] if self.blocks else []
        return {server_id: why for server_id, name in asked if (why := self._refusal(server_id, name)) is not None}

    def refuse(self, name: str, servers: Iterable[MCPServerInfo], names: Sequence[str]) -> None:
        """Refuse a call if the tool was left out at one of these servers.

        Args:
            name: The tool, as it was called.
            servers: Who was asked for it.
            names: The names that it may have there.

        Raises:
            ToolCallError: It was; nothing was sent.
        """
        if refusals := self.refusals(servers, names):
            facts = {"cause": "not_as_pinned", "delivered": "no", "retryable": False, "operation": "tools/call"}
            raise ToolCallError("; ".join(refusals.values()), {"tool": name, "servers": refusals, **facts})

    def _refusal(self, server_id: str, tool: str) -> str | None:
        if self.pins is None or (why := self.last(server_id).not_as_pinned.get(tool)) is None:
            return None
        what = "is not the one that was approved" if why == "changed" else "was never approved"
        return (
            f"the tool {self._shown(tool)} of server {server_id} {what} ({why}, by {self.pins.file}); "
            "look at it with 'mcp-orchestra pins', then approve it with 'mcp-orchestra pins --write'"
        )

    def _look(self, server_id: str, listing: Mapping[str, Any]) -> Offer:
        tools = dict(tools_in(listing))
        if self.pins is None:
            return Offer(names=frozenset(tools))
        pinned = self.pins.of(server_id)
        found = {name: _digest(tools[name]) for name in pinned.keys() & tools.keys()}  # what is new needs no digest
        wrong: dict[str, PinTrouble] = {
            name: "changed" if name in pinned else "new" for name in tools if pinned.get(name) != found.get(name, "")
        }
        self._report(server_id, wrong, found)
        names = tools.keys() - wrong.keys() if self.blocks else tools
        return Offer(names=frozenset(names), not_as_pinned=MappingProxyType(wrong))

    def _report(self, server_id: str, wrong: Mapping[str, PinTrouble], found: Mapping[str, str]) -> None:
        """Log what is not as pinned, once for each change and not for each listing."""
        reported = self.reported.get(server_id, {})
        seen = self.reported[server_id] = {name: found.get(name, "") for name in wrong}
        fresh: dict[str, PinTrouble] = {name: why for name, why in wrong.items() if reported.get(name) != seen[name]}
        if fresh:
            logger.warning("server %s: %s", server_id, self._sentence(fresh))

    def _sentence(self, wrong: Mapping[str, PinTrouble]) -> str:
        named = [f"{self._shown(name)} ({why})" for name, why in list(wrong.items())[:_NAMED]]
        if (more := len(wrong) - _NAMED) > 0:
            named.append(f"{more} more")
        what = "1 tool is" if len(wrong) == 1 else f"{len(wrong)} tools are"
        so = "hidden" if self.blocks else "offered all the same"
        file = self.pins.file if self.pins is not None else "?"
        return f"{what} not as pinned in {file}, and {so}: {', '.join(named)}"

    def _shown(self, name: str) -> str:
        return repr(self._redact(one_line(name))[:_LONGEST_NAME])


def tools_in(listing: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the tools of a listing under their own names; of namesakes the first, which is the one that a call reaches.

    What is cached under a server's key may be anything: anybody may have put it there.
    """
    found = listing.get("tools")
    seen: set[str] = set()
    for one in cast("list[object]", found) if isinstance(found, list) else ():
        if isinstance(one, dict) and one.keys() >= TOOL_FIELDS:
            tool = cast("dict[str, Any]", one)
            if isinstance(name := tool["name"], str) and name not in seen:
                seen.add(name)
                yield name, tool


def _digest(tool: Mapping[str, Any]) -> str:
    try:
        return tool_digest(tool)
    except ValueError:
        return "not JSON"  # no server sent it; it is no tool that was approved
