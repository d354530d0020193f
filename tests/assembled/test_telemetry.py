"""One span for each gather, domain query, read, call and connect, with the right parents across tasks."""

import asyncio

import pytest
from mcp_orchestra import NoMCPAvailableError, ToolCallError
from mcp_orchestra.testing.servers import ScriptedServer, ServerProcess
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

pytestmark = pytest.mark.anyio


@pytest.fixture
def tracing():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def parents(exporter):
    """Each span's name with its parent's, in the order in which the spans ended."""
    spans = exporter.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans}
    return [(span.name, names[span.parent.span_id] if span.parent else None) for span in spans]


async def test_connecting_belongs_to_initialising_and_reads_to_the_gather(configure, serving, tracing):
    provider, exporter = tracing
    servers = {name: await serving(ScriptedServer(name, resources=2)) for name in ("a", "b")}
    orchestrator = configure(servers, tracer_provider=provider)
    await orchestrator.initialize()
    assert sorted(parents(exporter), key=str) == [
        ("orchestrate connect", "orchestrate initialize"),
        ("orchestrate connect", "orchestrate initialize"),
        ("orchestrate initialize", None),
    ]
    exporter.clear()
    with provider.get_tracer("application").start_as_current_span("request"):
        await orchestrator.gather_all_resources()
    found = parents(exporter)
    assert found.count(("orchestrate resources/list", "orchestrate gather")) == 2
    assert found.count(("orchestrate resources/read", "orchestrate gather")) == 4
    assert ("orchestrate gather", "request") in found
    servers_seen = {
        span.attributes["mcp.orchestra.server"]
        for span in exporter.get_finished_spans()
        if span.name == "orchestrate resources/list"
    }
    assert servers_seen == {"a", "b"}


async def test_questions_and_calls_are_spans_with_their_outcome(configure, serving, tracing):
    provider, exporter = tracing
    fields = {**await serving(ScriptedServer("a", resources={"x://1": "1"})), "domains": ["d"]}
    orchestrator = configure({"a": fields}, tracer_provider=provider)
    await orchestrator.get_resources_for_domain("d")
    await orchestrator.read_resource("x://1")
    await orchestrator.call_tool("echo", {"text": "a secret"})
    with pytest.raises(NoMCPAvailableError):
        await orchestrator.get_resources_for_domain("nowhere")
    with pytest.raises(ToolCallError):
        await orchestrator.call_tool("slow", {"seconds": 9}, timeout=0.1)
    spans = exporter.get_finished_spans()
    by_name = {span.name: span for span in spans}
    assert by_name["orchestrate tools/call"].attributes["gen_ai.tool.name"] == "slow"
    assert by_name["orchestrate resources/read"].attributes["mcp.resource.uri"] == "x://1"
    failed = {
        (span.name, span.attributes["error.type"]) for span in spans if span.status.status_code is StatusCode.ERROR
    }
    assert ("orchestrate domain", "NoMCPAvailableError") in failed
    assert ("orchestrate tools/call", "timeout") in failed
    assert ("orchestrate call", "timeout") in failed
    assert "a secret" not in "".join(span.to_json() for span in spans)


async def test_each_attempt_that_fails_is_a_span_and_an_event_of_the_question(configure, serving, tracing):
    provider, exporter = tracing
    first, spare = ScriptedServer("first", resources={}), ScriptedServer("spare", resources={"x://1": "1"})
    orchestrator = configure(
        {"first": {**await serving(first), "priority": 1}, "spare": await serving(spare)}, tracer_provider=provider
    )
    await orchestrator.read_resource("x://1")
    spans = exporter.get_finished_spans()
    assert [span.attributes["mcp.orchestra.server"] for span in spans if span.name == "orchestrate resources/read"] == [
        "first",
        "spare",
    ]
    (question,) = [span for span in spans if span.name == "orchestrate read"]
    (event,) = question.events
    assert (event.name, dict(event.attributes)) == (
        "mcp.orchestra.attempt",
        {"mcp.orchestra.number": 1, "mcp.orchestra.server": "first", "mcp.orchestra.cause": "rejected"},
    )


async def test_a_reconnect_is_a_trace_of_its_own(configure, tracing):
    provider, exporter = tracing
    async with ServerProcess(name="a") as process:
        fields = {"transport": "streamable-http", "url": process.url, "timeout": 10}
        orchestrator = configure({"a": fields}, tracer_provider=provider)
        await orchestrator.initialize()
        exporter.clear()
        await process.kill()
        while orchestrator.registry.get_server("a").connected:
            await asyncio.sleep(0.02)
        await process.start()
        while not orchestrator.registry.get_server("a").connected:
            await asyncio.sleep(0.02)
    assert set(parents(exporter)) == {("orchestrate connect", None)}
