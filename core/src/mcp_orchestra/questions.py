"""What an orchestrator is asked, apart from everything at once: each question finds the parts that answer it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from mcp_orchestra.inputs import (
    checked_key,
    checked_names,
    checked_object,
    checked_seconds,
    checked_text,
    checked_texts,
)
from mcp_orchestra.registry import MCPRegistry
from mcp_orchestra.selection import narrowing, question_of, selected

if TYPE_CHECKING:
    from mcp_types import CallToolResult, GetPromptResult, ReadResourceResult

    from mcp_orchestra.explaining import Explanation
    from mcp_orchestra.prompting import PromptInfo
    from mcp_orchestra.running import Running
    from mcp_orchestra.tool_names import ToolInfo

__all__ = ["Questions"]


class Questions(ABC):
    """Answers questions with what is running."""

    @property
    @abstractmethod
    def registry(self) -> MCPRegistry:
        """The configured servers and the state of their connections."""

    async def get_resources_for_domain(self, domain: str, *, key: str | None = None) -> dict[str, Any]:
        """Return the resources (name to resource) of the first server for the domain that can answer.

        Args:
            domain: As servers declare it in the configuration.
            key: A user, a session or the like; under the policy ``sticky`` equal keys go to the same server.

        Raises:
            NoMCPAvailableError: No server declares the domain, or none that does is connected.
            ResourceFetchError: All that were asked failed; ``context["attempts"]`` lists them.
        """
        checked_text(domain, "domain")
        key = checked_key(key)
        running = await self._ready()
        with running.usage, self._span("domain", domain=domain):
            return await running.gatherer.domain(domain, key)

    async def read_resource(
        self, uri: str, *, server: str | None = None, key: str | None = None
    ) -> "ReadResourceResult":
        """Return the contents of one resource: from a server that lists it, else has a template for it, else has it.

        Args:
            uri: The resource's URI.
            server: Id or display name of the only server to ask.
            key: A user, a session or the like; under the policy ``sticky`` equal keys go to the same server.

        Raises:
            UnknownServerError: No such server.
            NoMCPAvailableError: No server is connected.
            ResourceFetchError: No server has it, or reading failed.
        """
        checked_text(uri, "uri")
        checked_names(server=server)
        key = checked_key(key)
        running = await self._ready()
        servers = selected(self.registry, server)
        with running.usage, self._span("read"):
            return await running.reader.read(uri, servers, key)

    async def list_tools(self) -> "list[ToolInfo]":
        """Return the tools of every connected server under unique names, in priority order.

        Raises:
            NoMCPAvailableError: No server is connected.
            MCPConnectionError: A server cannot list its tools, and the configuration says to fail fast; or the
                orchestrator was closed meanwhile.
        """
        running = await self._ready()
        with running.usage, self._span("tools"):
            return await running.catalogue.tools()

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        server: str | None = None,
        domain: str | None = None,
        capability: str | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> "CallToolResult":
        """Call a tool.

        It runs once at most: another server is asked only if the call was certainly not delivered, or if the
        configuration has the tool among the server's ``safe_tools``, and only among those that ``domain`` or
        ``capability`` allow.

        Args:
            name: A name from `list_tools`, or the tool's own name at its server.
            arguments: The tool's arguments.
            server: Id or display name of the only server to ask.
            domain: Ask only servers that declare this domain.
            capability: Ask only servers that declare this capability.
            timeout: Seconds to wait for the result of each server; its ``request_timeout`` by default.
            key: A user, a session or the like; under the policy ``sticky`` equal keys go to the same server.

        Returns:
            The result; a failure that the tool itself reports has ``is_error`` set.

        Raises:
            UnknownServerError: No such server.
            ToolNotFoundError: No connected server has the tool, or several have and nothing says which to ask.
            ToolCallError: There is no result; ``context["delivered"]`` says whether the tool may have run.
            TypeError: An argument is of the wrong type, or cannot be written as JSON.
            ValueError: The timeout is not positive, or a text is not valid Unicode. Nothing was sent.
        """
        checked_text(name, "name")
        given, timeout = checked_object(arguments), checked_seconds(timeout)
        checked_names(server=server, domain=domain, capability=capability)
        key = checked_key(key)
        running = await self._ready()
        servers = selected(self.registry, server, domain, capability)
        question = narrowing(domain, capability, key)
        with running.usage, self._span("call", tool=name):
            return await running.catalogue.call(name, given, servers, question, timeout)

    async def list_prompts(self) -> "list[PromptInfo]":
        """Return the prompts of every connected server, in priority order; asks each time, for nothing is cached.

        Raises:
            NoMCPAvailableError: No server is connected.
            MCPConnectionError: A server cannot list its prompts, and the configuration says to fail fast; or the
                orchestrator was closed meanwhile.
        """
        running = await self._ready()
        with running.usage, self._span("prompts"):
            return await running.prompter.prompts()

    async def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, str] | None = None,
        *,
        server: str | None = None,
        domain: str | None = None,
        capability: str | None = None,
        key: str | None = None,
    ) -> "GetPromptResult":
        """Return a prompt filled with arguments, from the first server that gives it.

        Args:
            name: The prompt's name.
            arguments: Its arguments.
            server: Id or display name of the only server to ask.
            domain: Ask only servers that declare this domain.
            capability: Ask only servers that declare this capability.
            key: A user, a session or the like; under the policy ``sticky`` equal keys go to the same server.

        Raises:
            UnknownServerError: No such server.
            NoMCPAvailableError: No server that may be asked is connected.
            MCPConnectionError: None of them gave it; ``context["attempts"]`` lists those that were asked.
            TypeError: An argument is not a text.
            ValueError: A text is not valid Unicode. Nothing was sent.
        """
        checked_text(name, "name")
        given = checked_texts(arguments)
        checked_names(server=server, domain=domain, capability=capability)
        key = checked_key(key)
        running = await self._ready()
        servers = selected(self.registry, server, domain, capability)
        question = narrowing(domain, capability, key)
        with running.usage, self._span("prompt", prompt=name):
            return await running.prompter.get(name, given, servers, question)

    async def explain(
        self,
        *,
        domain: str | None = None,
        capability: str | None = None,
        uri: str | None = None,
        tool: str | None = None,
        key: str | None = None,
    ) -> "Explanation":
        """Return who would be asked a question, in which order, who would not and why, and who would answer now.

        The question itself is not asked, and nobody's turn is used up; only what the question would need to know, and
        nobody has listed yet, is listed. Give exactly one of the first four.

        Args:
            domain: As for `get_resources_for_domain`.
            capability: As for `call_tool`.
            uri: As for `read_resource`.
            tool: As ``name`` for `call_tool`.
            key: As for all three.

        Raises:
            NoMCPAvailableError: No server could be connected.
            TypeError: None of the four is given, or more than one, or something is not a text.
        """
        question = question_of(domain=domain, capability=capability, uri=uri, tool=tool, key=key)
        running = await self._ready()
        with running.usage:
            return await running.explainer.explain(question)

    @abstractmethod
    async def _ready(self) -> "Running":
        """Return what is running, initialising if nobody did."""

    @abstractmethod
    def _span(self, operation: str, **attributes: str) -> "AbstractContextManager[object]":
        """Run a block as one span."""
