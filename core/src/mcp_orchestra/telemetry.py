"""Spans on OpenTelemetry: the only module that talks to it. Without an SDK installed they cost next to nothing."""

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry import baggage, context, trace

from mcp_orchestra.errors import MCPOrchestratorException

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["Telemetry", "note_event"]


class Telemetry:
    """Makes the orchestrator's spans.

    Args:
        tracer_provider: Where spans go; the application's global provider by default.
    """

    def __init__(self, tracer_provider: "TracerProvider | None" = None) -> None:
        self._tracer = trace.get_tracer("mcp_orchestra", version("mcp-orchestra"), tracer_provider)
        self._given = tracer_provider is not None

    def span(
        self, operation: str, *, server: str | None = None, target: str | None = None, **attributes: str | int | bool
    ) -> "AbstractContextManager[Span]":
        """Run a block as one span named ``orchestrate <operation>``, a child of the current one.

        What is done with a server is done without the caller's baggage, which the SDK would send to it.

        An exception sets the status and ``error.type`` and passes on; its text stays out of the trace.

        Args:
            operation: ``gather``, ``domain``, ``connect``, or the protocol method.
            server: The server's id.
            target: The tool or prompt. A URI is an attribute of its own kind, because it may be long and personal.
            attributes: Further attributes, by their names behind ``mcp.orchestra.``.
        """
        if not self._given and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            # Nobody listens, and a span costs more than a cached answer.
            span: AbstractContextManager[Span] = nullcontext(trace.INVALID_SPAN)
        else:
            span = self._span(operation, server, target, attributes)
        return _without_baggage(span) if server is not None and baggage.get_all() else span

    @contextmanager
    def _span(
        self, operation: str, server: str | None, target: str | None, attributes: Mapping[str, str | int | bool]
    ) -> "Generator[Span]":
        given: dict[str, str | int | bool] = {f"mcp.orchestra.{name}": value for name, value in attributes.items()}
        if server is not None:
            given["mcp.orchestra.server"] = server
        if "/" in operation:
            given["mcp.method.name"] = operation
        if target is not None:
            given[_TARGET.get(operation, "mcp.orchestra.target")] = target
        with self._tracer.start_as_current_span(
            f"orchestrate {operation}", attributes=given, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_attribute("error.type", _error_type(error))
                span.set_status(trace.StatusCode.ERROR)
                raise


@contextmanager
def _without_baggage(span: "AbstractContextManager[Span]") -> "Generator[Span]":
    token = context.attach(baggage.clear())
    try:
        with span as current:
            yield current
    finally:
        context.detach(token)


def note_event(event: str, **attributes: str | int | bool) -> None:
    """Put an event on the current span, if somebody listens.

    Args:
        event: Its name behind ``mcp.orchestra.``; likewise those of the attributes.
        attributes: Facts, free of whatever others wrote.
    """
    span = trace.get_current_span()
    if span.is_recording():
        named = {f"mcp.orchestra.{name}": value for name, value in attributes.items()}
        span.add_event(f"mcp.orchestra.{event}", named)


_TARGET = {
    "tools/call": "gen_ai.tool.name",
    "prompts/get": "gen_ai.prompt.name",
    "resources/read": "mcp.resource.uri",
}


def _error_type(error: BaseException) -> str:
    facts = error.context if isinstance(error, MCPOrchestratorException) else {}
    return str(facts.get("code") or facts.get("cause") or type(error).__qualname__)
