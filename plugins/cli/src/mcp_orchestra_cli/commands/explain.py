"""``mcp-orchestra explain``."""

from typing import TYPE_CHECKING, Annotated

import typer

from mcp_orchestra_cli.commands.status import state_cell
from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.failures import UsageError
from mcp_orchestra_cli.invocation import Invocation, invocation
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption
from mcp_orchestra_cli.tables import Cell, Table

if TYPE_CHECKING:
    from mcp_orchestra.explaining import Explanation, RankedServer

__all__ = ["explain"]


def explain(
    context: typer.Context,
    domain: Annotated[str | None, typer.Option("--domain", metavar="DOMAIN", help="As in `resources DOMAIN`.")] = None,
    capability: Annotated[
        str | None, typer.Option("--capability", metavar="NAME", help="As servers declare it.")
    ] = None,
    uri: Annotated[str | None, typer.Option("--uri", metavar="URI", help="As in `read URI`.")] = None,
    tool: Annotated[str | None, typer.Option("--tool", metavar="TOOL", help="As in `call TOOL`.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="The user or session, for the policy sticky.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show who would be asked a question, in which order, who would not and why.

    Give one of --domain, --capability, --uri and --tool. The question itself is not asked; for --uri the resources are
    gathered first, as an application has them. Exit code 3 if nobody would answer.
    """
    with invocation(context, config, as_json, debug) as call:
        if sum(one is not None for one in (domain, capability, uri, tool)) != 1:
            raise UsageError("give exactly one of --domain, --capability, --uri and --tool")
        from mcp_orchestra_cli.session import connected

        async def main() -> "Explanation":
            async with connected(call) as orchestrator:
                with call.screen.progress("Looking who has what"):
                    if uri is not None:
                        await orchestrator.gather_all_resources()
                    return await orchestrator.explain(domain=domain, capability=capability, uri=uri, tool=tool, key=key)

        found = call.run(main())
        if call.settings.as_json:
            call.screen.document(found)
        else:
            _show(call, found)
        if found.answers is None:
            raise typer.Exit(ExitCode.UNAVAILABLE)


def _show(call: Invocation, found: "Explanation") -> None:
    order = Table(
        ["", "server", "state", "priority", "weight", "in flight", "latency", "because"],
        title=f"Asked in this order (policy {found.policy})",
    )
    for place, server in enumerate(found.candidates, 1):
        order.add(
            place,
            server.server_id,
            state_cell(server.state),
            server.priority,
            server.weight,
            server.in_flight,
            _milliseconds(server),
            server.because,
        )
    if found.candidates:
        call.screen.table(order)
        call.screen.line()
    others = Table(["server", "why"], title="Not asked")
    for server_id, why in found.left_out.items():
        others.add(server_id, Cell(why, "dim"))
    if found.left_out:
        call.screen.table(others)
        call.screen.line()
    call.screen.line(f"{'nobody' if found.answers is None else found.answers} would answer: {found.why}")


def _milliseconds(server: "RankedServer") -> str | None:
    seconds = server.latency if server.peak_latency is None else server.peak_latency
    return None if seconds is None else f"{seconds * 1000:.1f} ms"
