"""Checks what only plug-ins can check: names of transports, backends and policies, and the options of each."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mcp_orchestra.config.loaded import BoundCacheBackend, BoundPolicy, BoundRouting, BoundTransport
from mcp_orchestra.config.models import CacheConfig, MCPServerConfig, RoutingConfig, RoutingRule
from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.tree import Path
from mcp_orchestra.config.validate import field_names, validate
from mcp_orchestra.errors import PluginError
from mcp_orchestra.suggest import did_you_mean
from mcp_orchestra.types import CacheBackendSpec, RoutingPolicySpec, TransportSpec

if TYPE_CHECKING:
    from pydantic import BaseModel

    from mcp_orchestra.plugins import PluginManager

__all__ = ["Binder"]

SpecT = TypeVar("SpecT", bound=TransportSpec | CacheBackendSpec | RoutingPolicySpec)

_ORCHESTRATION: Path = ("orchestration",)
_SYNONYMS = {"type": "transport", "httpUrl": "url", "serverUrl": "url", "disabled": "enabled"}


class Binder:
    """Binds the parts of one configuration to what plug-ins offer.

    Every method returns None after noting what is wrong.

    Args:
        plugins: What is on offer.
        problems: Receives what is wrong.
    """

    def __init__(self, plugins: "PluginManager", problems: Problems) -> None:
        self._plugins = plugins
        self._problems = problems

    def transport(self, server_id: str, name: str, url: str, fields: Mapping[str, Any]) -> BoundTransport | None:
        """Bind a server to its transport.

        Args:
            server_id: The server's id.
            name: What it says as ``transport``.
            url: The common field of that name; empty if there is none.
            fields: The fields beyond the common ones: they are the transport's.
        """
        where: Path = ("mcp_servers", server_id)
        installed = self._plugins.transports()
        spec = self._choose("transport", name, self._plugins.transport, installed, (*where, "transport"))
        if spec is None:
            return None
        given = dict(fields)
        takes_url = spec.options is None or _is_open(spec.options) or "url" in field_names(spec.options)
        if url and not takes_url:
            problem = f"the transport {spec.name} takes no url; remove it, or name another transport"
            self._problems.add((*where, "url"), problem)
        elif url and spec.options is not None:
            given["url"] = url
        elif not url and spec.options is None:
            self._problems.add((*where, "url"), f"this field is missing: the transport {spec.name} needs a url")
        valid, options = self._options(f"transport {spec.name}", spec.options, given, where)
        return BoundTransport(spec=spec, options=options) if valid else None

    def fields(self, transport: str) -> frozenset[str] | None:
        """Return the fields that a server of this transport may have; None if there is no saying."""
        try:
            options = self._plugins.transport(transport).options
        except PluginError:
            return None
        own = field_names(options) if options is not None else ()
        return None if options is not None and _is_open(options) else frozenset((*MCPServerConfig.model_fields, *own))

    def cache_backend(self, config: CacheConfig) -> BoundCacheBackend | None:
        """Bind the cache to its backend."""
        where: Path = (*_ORCHESTRATION, "cache")
        spec = self._choose(
            "cache backend",
            config.backend,
            self._plugins.cache_backend,
            self._plugins.cache_backends(),
            (*where, "backend"),
        )
        if spec is None:
            return None
        valid, options = self._options(f"cache backend {spec.name}", spec.options, config.options, (*where, "options"))
        return BoundCacheBackend(spec=spec, options=options) if valid else None

    def routing(self, config: RoutingConfig) -> BoundRouting | None:
        """Bind the default routing policy and those of single domains."""
        where: Path = (*_ORCHESTRATION, "routing")
        default = self._policy(config, where)
        bound = {
            domain: policy
            for domain, rule in config.domains.items()
            if not self._problems.full and (policy := self._policy(rule, (*where, "domains", domain)))
        }
        if default is None or len(bound) < len(config.domains):
            return None
        return BoundRouting(default=default, domains=MappingProxyType(bound))

    def _policy(self, rule: RoutingRule, where: Path) -> BoundPolicy | None:
        spec = self._choose(
            "routing policy",
            rule.policy,
            self._plugins.routing_policy,
            self._plugins.routing_policies(),
            (*where, "policy"),
        )
        if spec is None:
            return None
        valid, options = self._options(f"routing policy {spec.name}", spec.options, rule.options, (*where, "options"))
        return BoundPolicy(spec=spec, options=options) if valid else None

    def _choose(
        self, label: str, name: str, get: Callable[[str], SpecT], installed: Sequence[SpecT], where: Path
    ) -> SpecT | None:
        try:
            return get(name)
        except PluginError as error:
            # Its message repeats the name, which may be a secret in the wrong place.
            undiscovered = "call discover()" in error.message
        names = {known for offered in installed for known in (offered.name, *_aliases(offered))}
        listing = ", ".join(map(_with_aliases, installed)) or "none"
        unusable = [info for info in self._plugins.installed() if info.state != "active"]
        self._problems.add(
            where,
            f"expected the name of an installed {label}{did_you_mean(name, names) or ';'} installed: {listing}"
            + "".join(f"; the plug-in {info} is {info.state}: {info.reason}" for info in unusable)
            + ("; installed plug-ins have not been looked for: call discover()" if undiscovered else ""),
        )
        return None

    def _options(
        self, label: str, model: "type[BaseModel] | None", given: Mapping[str, Any], where: Path
    ) -> "tuple[bool, BaseModel | None]":
        """Return whether the options are valid, and the model made of them."""
        known = field_names(model) if model is not None else []
        taken = given.keys() if model is not None and _is_open(model) else set(known)
        unknown = [name for name in given if name not in taken]
        for name in unknown:
            if self._problems.full:
                break
            common = MCPServerConfig.model_fields if where[0] == "mcp_servers" else ()
            hint = self._meant(name, where) or did_you_mean(name, [*common, *known])
            listing = ", ".join(field for field in known if field != "url") or "none"
            self._problems.add((*where, name), f"unknown to the {label}{hint or f'; its own fields: {listing}'}")
        if model is None:
            return not unknown, None
        # A required field that seems to be missing may be there under the unknown name.
        values = {name: _copied(value) for name, value in given.items() if name in taken}
        options = validate(model, values, where, self._problems, report_missing=not unknown)
        return options is not None and not unknown, options

    def _meant(self, field: str, where: Path) -> str:
        """Say what a server's unknown field is elsewhere: another spelling, or another transport's field."""
        if where[0] != "mcp_servers":
            return ""
        if synonym := _SYNONYMS.get(field):
            return f"; did you mean {synonym!r}?"
        models = {spec.name: spec.options for spec in self._plugins.transports()}
        owners = [name for name, model in models.items() if model is not None and field in field_names(model)]
        return f"; did you mean 'transport: {owners[0]}'?" if len(owners) == 1 else ""


def _is_open(model: "type[BaseModel]") -> bool:
    return model.model_config.get("extra") == "allow"


def _copied(value: object) -> object:
    """Copy mappings and lists; a configuration made in Python may hold what cannot be copied, such as a lock."""
    if isinstance(value, dict):
        return {key: _copied(member) for key, member in cast("dict[object, object]", value).items()}
    return [_copied(item) for item in cast("list[object]", value)] if isinstance(value, list) else value


def _with_aliases(spec: TransportSpec | CacheBackendSpec | RoutingPolicySpec) -> str:
    aliases = _aliases(spec)
    return f"{spec.name} (or {', '.join(aliases)})" if aliases else spec.name


def _aliases(spec: TransportSpec | CacheBackendSpec | RoutingPolicySpec) -> tuple[str, ...]:
    return spec.aliases if isinstance(spec, TransportSpec) else ()
