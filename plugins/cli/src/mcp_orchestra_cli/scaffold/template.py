"""The commented configuration that ``init`` writes: every field there is, explained by the models themselves."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mcp_orchestra.config.models import (
    CacheConfig,
    LimitsConfig,
    MCPConfig,
    MCPServerConfig,
    OrchestrationConfig,
    PluginsConfig,
    RoutingConfig,
    SecurityConfig,
    SupervisionConfig,
)
from pydantic import BaseModel

from mcp_orchestra_cli.scaffold.docs import field_docs
from mcp_orchestra_cli.scaffold.yamls import comment, disabled, entry, indented

if TYPE_CHECKING:
    from mcp_orchestra.plugins import PluginManager

__all__ = ["behaviour", "header", "template"]

# What stands where a field has no default, in examples that are commented out.
_EXAMPLES: dict[str, object] = {
    "command": "my-mcp-server",
    "url": "https://example.com/mcp",
    "headers": {"Authorization": "Bearer ${TOKEN}"},
}
_COMMON_FIRST = ("name", "transport")


def header(plugins: "PluginManager") -> list[str]:
    """Return what stands at the top of every file that ``init`` writes."""
    transports = ", ".join(spec.name for spec in plugins.transports())
    return [
        *comment("Configuration of MCP Orchestra. Check it with: mcp-orchestra check --connect"),
        *comment(
            "Values may hold ${NAME} or ${NAME:-default} (environment variables) and ${file:/run/secrets/name}; "
            "$${ stands for a literal ${. Keep secrets out of this file that way."
        ),
        *comment(f"Installed transports: {transports or 'none'} (mcp-orchestra plugins lists everything installed)."),
        "",
    ]


def template(plugins: "PluginManager") -> str:
    """Return a complete configuration that works as it is, with a sample server and an example of each transport.

    Args:
        plugins: Whose transports, backends and policies are described.
    """
    examples = [spec for spec in plugins.transports() if spec.deprecated is None]
    lines = [*header(plugins), *comment(field_docs(MCPConfig)["mcp_servers"]), "mcp_servers:", *_sample()]
    for spec in examples:
        lines += ["", *indented(comment(f"Example of a server over {spec.name}:"))]
        lines += indented(disabled(_example(spec.name, spec.options)))
    lines += ["", *behaviour(plugins)]
    return "\n".join(lines) + "\n"


def behaviour(plugins: "PluginManager") -> list[str]:
    """Return the sections beside the servers, with every field at its default."""
    docs = field_docs(OrchestrationConfig)
    lines = [*comment(field_docs(MCPConfig)["orchestration"]), "orchestration:"]
    shared = [*LimitsConfig.model_fields, *SupervisionConfig.model_fields]
    own = [name for name in OrchestrationConfig.model_fields if name not in {*shared, "cache", "routing", "security"}]
    lines += indented(_fields(OrchestrationConfig, [*own, *shared]))
    lines += indented([*comment(docs["cache"]), "cache:"])
    lines += indented(_fields(CacheConfig, CacheConfig.model_fields, _options_of(plugins.cache_backends())), 2)
    lines += indented([*comment(docs["routing"]), "routing:"])
    lines += indented(_fields(RoutingConfig, RoutingConfig.model_fields, _options_of(plugins.routing_policies())), 2)
    lines += indented([*comment(docs["security"]), "security:"])
    lines += indented(_fields(SecurityConfig, SecurityConfig.model_fields), 2)
    lines += ["", *comment(field_docs(MCPConfig)["plugins"]), "plugins:"]
    lines += indented(_fields(PluginsConfig, PluginsConfig.model_fields))
    return lines


def _sample() -> list[str]:
    """Return a server that runs wherever this package is installed, with every common field."""
    chosen: dict[str, object] = {
        "name": "Sample Server",
        "transport": "stdio",
        "priority": 10,
        "domains": ["products", "metadata"],
        "capabilities": ["list_resources"],
    }
    arguments = ["-P", "-m", "mcp_orchestra_cli.demo.servers", "--role", "metadata"]
    lines = comment("A small server that comes with MCP Orchestra, to try things with: replace it by your own.")
    lines.append("sample:")
    docs = field_docs(MCPServerConfig)
    names = [*chosen, *(name for name in MCPServerConfig.model_fields if name not in chosen)]
    for name in names:
        lines += indented(comment(docs.get(name, "")))
        if name in chosen:
            lines += indented([entry(name, chosen[name])])
        else:
            default = MCPServerConfig.model_fields[name].get_default(call_default_factory=True)
            lines += indented(disabled([entry(name, default)]))
        if name == "transport":
            lines += indented([entry("command", sys.executable), entry("args", arguments)])
    return indented(lines)


def _example(name: str, options: type[BaseModel] | None) -> list[str]:
    lines = [f"my-{name}:", *indented([entry("name", f"My {name} server"), entry("transport", name)])]
    fields = options.model_fields if options is not None else {"url": MCPServerConfig.model_fields["url"]}
    docs = field_docs(options) if options is not None else {}
    for field_name, field in fields.items():
        default = _EXAMPLES.get(
            field_name, "..." if field.is_required() else field.get_default(call_default_factory=True)
        )
        lines += indented([*comment(docs.get(field_name, "")), entry(field_name, default)])
    return lines


def _fields(
    model: type[BaseModel], names: Iterable[str], more: Callable[[str], list[str]] = lambda _name: []
) -> list[str]:
    docs = field_docs(model)
    lines: list[str] = []
    for name in names:
        default: object = model.model_fields[name].get_default(call_default_factory=True)
        lines += [*comment(docs.get(name, "")), *more(name), entry(name, default)]
    return lines


def _options_of(specs: Sequence[Any]) -> Callable[[str], list[str]]:
    """Return what to say about a field ``options``: which plug-in takes which."""

    def describe(field: str) -> list[str]:
        if field != "options":
            return []
        lines: list[str] = []
        for spec in specs:
            model: type[BaseModel] | None = spec.options
            lines += comment(f"{spec.name}: {'' if model is not None and model.model_fields else 'takes none.'}")
            if model is not None:
                docs = field_docs(model)
                for name, option in model.model_fields.items():
                    default = "required" if option.is_required() else option.get_default(call_default_factory=True)
                    lines += comment(f"  {name} ({default}): {docs.get(name, '')}")
        return lines

    return describe
