"""What holds for the registry whatever is done to it, against a dictionary as the model (S40)."""

from dataclasses import dataclass
from itertools import count

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from mcp_orchestra import MCPRegistry, MCPServerConfig, UnknownServerError

IDS = st.sampled_from(["a", "b", "c", "d", "e"])
WORDS = ["red", "green", "blue"]
PRIORITIES = st.integers(1, 3)


@dataclass
class Modelled:
    priority: int
    registered: int
    domains: list[str]
    capabilities: list[str]
    connected: bool = False
    error: str | None = None
    client: object | None = None


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.registry = MCPRegistry()
        self.model: dict[str, Modelled] = {}
        self.clock = count()

    @rule(
        server_id=IDS,
        priority=PRIORITIES,
        domains=st.lists(st.sampled_from(WORDS), max_size=4),
        capabilities=st.lists(st.sampled_from(WORDS), max_size=4),
    )
    def register_or_replace(self, server_id, priority, domains, capabilities):
        server = MCPServerConfig(name=server_id, priority=priority, domains=domains, capabilities=capabilities)
        self.registry.register_server(server_id, server)
        self.model[server_id] = Modelled(priority, next(self.clock), domains, capabilities)

    @rule(server_id=IDS)
    def mark_connected(self, server_id):
        client = object()
        if server_id not in self.model:
            with pytest.raises(UnknownServerError):
                self.registry.mark_connected(server_id, client)
            return
        self.registry.mark_connected(server_id, client)
        known = self.model[server_id]
        known.connected, known.error, known.client = True, None, client

    @rule(server_id=IDS, error=st.sampled_from([None, "reset", "timed out"]))
    def mark_disconnected(self, server_id, error):
        if server_id not in self.model:
            with pytest.raises(UnknownServerError):
                self.registry.mark_disconnected(server_id, error)
            return
        self.registry.mark_disconnected(server_id, error)
        known = self.model[server_id]
        known.connected, known.error, known.client = False, error, None

    @rule(word=st.sampled_from(WORDS))
    def spoil_every_list_that_it_returned(self, word):
        self.registry.get_all_servers().clear()
        self.registry.get_connected_servers().reverse()
        self.registry.get_servers_by_domain(word).clear()
        self.registry.get_servers_by_capability(word).clear()
        self.registry.get_domains().clear()

    def expected(self, wanted) -> list[str]:
        """Return the ids of the servers that are wanted, sorted by (priority, registration)."""
        chosen = [server_id for server_id, known in self.model.items() if wanted(known)]
        return sorted(chosen, key=lambda one: (self.model[one].priority, self.model[one].registered))

    @invariant()
    def every_server_is_as_it_was_marked(self):
        for server_id, known in self.model.items():
            info = self.registry.get_server(server_id)
            assert (info.server_id, info.name, info.config.priority) == (server_id, server_id, known.priority)
            assert (info.connected, info.connection_error) == (known.connected, known.error)
            assert info.client is known.client

    @invariant()
    def every_list_has_the_right_servers_in_order(self):
        def ids(servers):
            return [info.server_id for info in servers]

        assert ids(self.registry.get_all_servers()) == self.expected(lambda known: True)
        assert ids(self.registry.get_connected_servers()) == self.expected(lambda known: known.connected)
        for word in WORDS:
            by_domain = self.expected(lambda known, word=word: word in known.domains)
            assert ids(self.registry.get_servers_by_domain(word)) == by_domain
            by_capability = self.expected(lambda known, word=word: word in known.capabilities)
            assert ids(self.registry.get_servers_by_capability(word)) == by_capability
        assert self.registry.get_domains() == sorted({word for known in self.model.values() for word in known.domains})

    @invariant()
    def the_server_for_a_capability_is_the_least_of_the_connected_that_declare_it(self):
        for word in WORDS:
            able = [known for known in self.model.values() if known.connected and word in known.capabilities]
            chosen = self.registry.get_server_by_capability(word)
            if not able:
                assert chosen is None
                continue
            least = min((known.priority, known.registered) for known in able)
            found = self.model[chosen.server_id]
            assert (found.priority, found.registered) == least


TestRegistry = RegistryMachine.TestCase
