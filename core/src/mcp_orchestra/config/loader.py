"""Turns a file, or a configuration made in Python, into a checked configuration or into one clear error."""

import os
import pathlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from pydantic import BaseModel

from mcp_orchestra.config.bind import Binder
from mcp_orchestra.config.commands import check_commands
from mcp_orchestra.config.dialects import arrange, outline
from mcp_orchestra.config.document import read_document
from mcp_orchestra.config.expand import Expander
from mcp_orchestra.config.files import FileProblemError, stamp_of
from mcp_orchestra.config.finding import CONFIG_VARIABLE, find_config
from mcp_orchestra.config.loaded import BoundCacheBackend, BoundPolicy, BoundRouting, BoundTransport, LoadedConfig
from mcp_orchestra.config.models import MCPConfig, MCPServerConfig, OrchestrationConfig, PluginsConfig
from mcp_orchestra.config.names import check_id, check_names
from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.secret_values import literal_secrets, proxy_secrets, worth_hiding
from mcp_orchestra.config.tool_pins import ToolPins, pin_path
from mcp_orchestra.config.tree import Node, Path, kind_of, plain, show_key, show_path
from mcp_orchestra.config.validate import validate
from mcp_orchestra.errors import ConfigurationError
from mcp_orchestra.suggest import did_you_mean

if TYPE_CHECKING:
    from mcp_orchestra.plugins import PluginManager

__all__ = [
    "CONFIG_VARIABLE",
    "BoundCacheBackend",
    "BoundPolicy",
    "BoundRouting",
    "BoundTransport",
    "LoadedConfig",
    "bind_config",
    "find_config",
    "load_config",
]

ModelT = TypeVar("ModelT", bound=BaseModel)

_MOST = 20  # warnings of one kind; more than that is one mistake seen many times
_COMMON = frozenset(MCPServerConfig.model_fields)
# What everybody sees anyhow: to hide it would make status and logs unreadable.
_PUBLIC = _COMMON - {"url"} | {"type", "disabled"}


def load_config(
    path: pathlib.Path | None = None,
    *,
    plugins: "PluginManager | None" = None,
    environ: Mapping[str, str] | None = None,
    tool_pins: bool = True,
) -> LoadedConfig:
    """Load and check a configuration file; nothing is opened or connected.

    YAML in the document's shape, and the JSON (or YAML) files of other MCP clients, are told apart by their keys. A
    disabled server must be as valid as the others.

    Args:
        path: The file; without one, what `find_config` finds.
        plugins: The plug-ins to check against, as they are. Without them those installed are discovered, except for
            the ones that the file disables.
        environ: The environment variables for ``${…}``; those of the process by default.
        tool_pins: Whether the pin file that it names is read and gone by.

    Raises:
        ConfigurationError: Anything is wrong. The message names every place (line, column and YAML path) and what was
            expected there, never a value. ``context`` is ``{"path": file, "errors": [{"path", "line", "column",
            "message"}]}``.
        PluginError: Installed plug-ins contradict each other.
    """
    environ = os.environ if environ is None else environ
    warnings: list[str] = []
    if path is None:
        file = find_config(environ)
        named = environ.get(CONFIG_VARIABLE, "")
        if named and file != pathlib.Path(named):
            warnings.append(f"{CONFIG_VARIABLE} names {named}, which does not exist; {file} is used")
    else:
        file = pathlib.Path(path)
    stamp = stamp_of(file)
    problems = Problems(file)
    parts = outline(read_document(problems, file), problems)
    expander = Expander(environ, file.parent, problems)
    expand = partial(expander.expand, is_public=_is_public)
    problems.root = parts.root
    section: PluginsConfig | None = PluginsConfig()
    if parts.plugins is not None:
        expand(parts.plugins)
        section = _section(PluginsConfig, "plugins", {"plugins": plain(parts.plugins)}, problems)
    if plugins is None and section is not None:  # else it is not known which plug-ins may be imported
        plugins = _discovered(section)
    known = cache(Binder(plugins, problems).fields) if plugins is not None else None
    problems.root = arrange(parts, problems, warnings, expand, known)
    loaded = _check(problems, problems.root, section or PluginsConfig(), plugins, expander.resolved, warnings)
    return replace(loaded, stamp=stamp, tool_pins=_pins(loaded, problems) if tool_pins else None)


def bind_config(config: MCPConfig, *, plugins: "PluginManager | None" = None, tool_pins: bool = True) -> LoadedConfig:
    """Check a configuration that was made in Python, as `load_config` checks a file.

    Args:
        config: The configuration. Its values are taken as they are: ``${…}`` is not expanded.
        plugins: As for `load_config`.
        tool_pins: Likewise.

    Raises:
        ConfigurationError: Anything is wrong; there are no lines and columns.
        PluginError: Installed plug-ins contradict each other.
    """
    problems = Problems()
    for server_id in config.mcp_servers:
        check_id(server_id, problems)
    values = {
        server_id: {"transport": server.transport, "url": server.url, **(server.model_extra or {})}
        for server_id, server in config.mcp_servers.items()
    }
    loaded = _bind(config, values, problems, plugins or _discovered(config.plugins), set(), [])
    return replace(loaded, tool_pins=_pins(loaded, problems)) if tool_pins else loaded


def _check(
    problems: Problems,
    root: Node,
    section: PluginsConfig,
    plugins: "PluginManager | None",
    resolved: set[str],
    warnings: list[str],
) -> LoadedConfig:
    """Turn a tree in the document's shape into models, and bind these."""
    sections: dict[str, Any] = plain(root)
    written: dict[str, dict[str, Any]] = {}
    servers: dict[str, MCPServerConfig] = {}
    for server_id, values in sections["mcp_servers"].items():
        if problems.full:
            break
        check_id(server_id, problems)
        if not isinstance(values, dict):
            message = f"expected a mapping with the fields of a server, got {kind_of(values)}"
            problems.add(("mcp_servers", server_id), message)
            continue
        written[server_id] = values
        if server := validate(MCPServerConfig, cast("dict[str, Any]", values), ("mcp_servers", server_id), problems):
            servers[server_id] = server
    orchestration = _section(OrchestrationConfig, "orchestration", sections, problems)
    if plugins is None:
        problems.raise_if_any()
        raise AssertionError("only a wrong section leaves us without plug-ins")
    config = MCPConfig(mcp_servers=servers, orchestration=orchestration or OrchestrationConfig(), plugins=section)
    return _bind(config, written, problems, plugins, resolved, warnings)


def _section(model: type[ModelT], name: str, sections: Mapping[str, Any], problems: Problems) -> ModelT | None:
    values = sections.get(name, {})
    if isinstance(values, dict):
        return validate(model, cast("dict[str, Any]", values), (name,), problems)
    problems.add((name,), f"expected a mapping, got {kind_of(values)}; leave it out if it is empty")
    return None


def _bind(
    config: MCPConfig,
    written: Mapping[str, Mapping[str, Any]],
    problems: Problems,
    plugins: "PluginManager",
    resolved: set[str],
    warnings: list[str],
) -> LoadedConfig:
    """Check what concerns several servers or needs plug-ins."""
    # Servers are bound as written: the transport's fields are checked even where the common ones are wrong.
    check_names(config.mcp_servers, problems)
    _check_idle_stops(config, problems)
    binder = Binder(plugins, problems)
    transports: dict[str, BoundTransport] = {}
    for server_id, values in written.items():
        if problems.full:
            break
        name, url = values.get("transport", MCPServerConfig.model_fields["transport"].default), values.get("url", "")
        if isinstance(name, str) and isinstance(url, str):
            fields = {field: value for field, value in values.items() if field not in _COMMON}
            if bound := binder.transport(server_id, name, url, fields):
                transports[server_id] = bound
    check_commands(transports, config.orchestration.security.allowed_commands, problems)
    cache_backend = binder.cache_backend(config.orchestration.cache)
    routing = binder.routing(config.orchestration.routing)
    problems.raise_if_any()
    if cache_backend is None or routing is None:
        raise AssertionError("what cannot be bound is a problem")
    return LoadedConfig(
        path=problems.file,
        config=config,
        transports=MappingProxyType(transports),
        cache_backend=cache_backend,
        routing=routing,
        secrets=literal_secrets(config) | proxy_secrets() | worth_hiding(resolved),
        warnings=(*warnings, *_unknown_domains(config), *_still_enabled(config, plugins)),
        plugins=plugins,
    )


def _pins(loaded: LoadedConfig, problems: Problems) -> ToolPins | None:
    """Return the tools that were approved, if the configuration names a file of them."""
    security = loaded.config.orchestration.security
    if security.tool_pins is None:
        return None
    file = pin_path(security.tool_pins, problems.file)
    try:
        return _read_pins(file, security.tool_pins_policy, problems)
    except ConfigurationError as error:
        error.context["tool_pins"] = str(file)  # it is this file that has to be mended
        raise


def _read_pins(file: pathlib.Path, policy: Literal["block", "warn"], problems: Problems) -> ToolPins:
    reason = ""
    try:
        return ToolPins.read(file, policy)
    except FileProblemError as error:
        reason = error.reason
    problems.add(
        ("orchestration", "security", "tool_pins"),
        f"the file {file} {reason}; 'mcp-orchestra pins --write' writes it, after you have looked at the tools",
    )
    problems.raise_if_any()
    raise AssertionError("a file that cannot be read is a problem")


def _discovered(section: PluginsConfig) -> "PluginManager":
    from mcp_orchestra.plugins import PluginManager

    plugins = PluginManager(disabled=section.disabled)
    plugins.discover()
    return plugins


def _is_public(node: Node) -> bool:
    match node.path[1:] if node.path[:1] == ("mcp",) else node.path:
        case ("mcp_servers" | "mcpServers" | "servers", _, field, *_):
            return field in _PUBLIC
        case _:
            return "options" not in node.path


def _check_idle_stops(config: MCPConfig, problems: Problems) -> None:
    """Check that whatever is let go of while it is idle is also started again."""
    for server_id, server in config.mcp_servers.items():
        if server.idle_stop is not None and server.start != "on_first_use" and not problems.full:
            where: Path = ("mcp_servers", server_id, "idle_stop")
            problems.add(where, "works only with 'start: on_first_use', which starts it again; add that or remove this")


def _unknown_domains(config: MCPConfig) -> list[str]:
    """Warn about routing for a domain that no server declares."""
    declared = {domain for server in config.mcp_servers.values() for domain in server.domains}
    unknown = [domain for domain in config.orchestration.routing.domains if domain not in declared]
    where: Path = ("orchestration", "routing", "domains")
    warnings = [
        f"{show_path((*where, domain))}: no server declares this domain{did_you_mean(domain, declared)}"
        for domain in unknown[:_MOST]
    ]
    if (more := len(unknown) - _MOST) > 0:
        warnings.append(f"{show_path(where)}: {more} more domains that no server declares")
    return warnings


def _still_enabled(config: MCPConfig, plugins: "PluginManager") -> list[str]:
    """Warn about plug-ins that the configuration disables, but that came with the given manager."""
    active = {info.name for info in plugins.installed() if info.state == "active"}
    return [
        f"plugins.disabled: {show_key(name)} is in use, because the plug-ins were not chosen by this configuration"
        for name in config.plugins.disabled
        if name in active
    ]
