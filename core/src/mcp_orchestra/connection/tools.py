"""What a server says of its tools, in our own words."""

from collections.abc import Sequence
from typing import Any

import mcp_types as types

from mcp_orchestra.connection.fault import one_line
from mcp_orchestra.tool_digest import SHORT_DIGEST, tool_digest

__all__ = ["facts_of", "without_namesakes"]

_LONGEST_NAME = 80


def facts_of(tool: types.Tool) -> dict[str, Any]:
    """Return what a model sees of a tool."""
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
        "annotations": tool.annotations.model_dump(exclude_none=True) if tool.annotations else None,
    }


def without_namesakes(tools: Sequence[types.Tool]) -> tuple[list[types.Tool], str | None]:
    """Return the first tool of each name, and what to say of the others, naming the first of them."""
    by_name: dict[str, types.Tool] = {}
    second = next((tool for tool in tools if by_name.setdefault(tool.name, tool) is not tool), None)
    if second is None:
        return list(tools), None
    for tool in tools:
        by_name.setdefault(tool.name, tool)
    kept, dropped = (_short_digest(tool) for tool in (by_name[second.name], second))
    how = f"both are identical, {kept}" if kept == dropped else f"the first counts, {kept}; dropped is {dropped}"
    return list(by_name.values()), f"tools/list names {one_line(second.name)[:_LONGEST_NAME]!r} twice: {how}"


def _short_digest(tool: types.Tool) -> str:
    return tool_digest(facts_of(tool))[:SHORT_DIGEST]
