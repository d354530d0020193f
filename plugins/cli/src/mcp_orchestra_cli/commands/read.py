"""``mcp-orchestra read``."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mcp_orchestra_cli.exits import ExitCode
from mcp_orchestra_cli.failures import CommandError, UsageError
from mcp_orchestra_cli.invocation import invocation
from mcp_orchestra_cli.screen import Screen
from mcp_orchestra_cli.settings import ConfigOption, DebugOption, JsonOption
from mcp_orchestra_cli.tables import printable

__all__ = ["read"]


def read(
    context: typer.Context,
    uri: Annotated[
        str, typer.Argument(metavar="URI", help="The resource's URI, as `mcp-orchestra resources` shows it.")
    ],
    server: Annotated[
        str | None, typer.Option("--server", metavar="ID", help="Ask only this server (id or display name).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the contents to this file.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print the contents of one resource.

    Text is printed as it is; binary contents go to a file or a pipe, never to a terminal.
    """
    with invocation(context, config, as_json, debug) as call:
        from mcp_orchestra_cli.session import connected

        async def main() -> dict[str, Any]:
            async with connected(call) as orchestrator:
                with call.screen.progress(f"Reading {uri}"):
                    answer = await orchestrator.read_resource(uri, server=server)
            from mcp_orchestra.connection.resources import contents_of

            return {"uri": uri, **contents_of(answer)}

        found = call.run(main())
        if output is not None:
            _save(output, _bytes(found["contents"]))
        if call.settings.as_json:
            call.screen.document(found)
        elif output is None:
            _print(call.screen, found["contents"])


def _print(screen: Screen, contents: Sequence[Mapping[str, Any]]) -> None:
    if not screen.on_terminal:
        screen.data(_bytes(contents))
    elif any("blob" in part for part in contents):
        raise UsageError("this resource is binary: give --output FILE, or pipe the output into something")
    else:
        text = "".join(part["text"] for part in contents)
        screen.text(printable(text) if text.endswith("\n") else f"{printable(text)}\n")


def _save(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror or type(error).__name__}") from error


def _bytes(contents: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(_part(part) for part in contents)


def _part(part: Mapping[str, Any]) -> bytes:
    if "text" in part:
        return str(part["text"]).encode()
    try:
        return base64.b64decode(part["blob"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise CommandError(
            "the server sent binary contents that are not valid base64",
            code=ExitCode.NOT_FOUND,
            kind="ResourceFetchError",
        ) from error
