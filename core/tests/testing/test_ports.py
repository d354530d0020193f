"""A port for a server that comes back stays free while the server is away."""

import random
import socket
from pathlib import Path

from mcp_orchestra.testing.ports import free_port


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        assert listener.getsockname()[1] > 1024


def test_a_free_port_is_none_that_an_outgoing_connection_is_given() -> None:
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="utf-8").split())
    assert not any(lowest <= free_port() <= highest for _ in range(100))


def test_processes_with_the_same_seed_draw_different_ports() -> None:
    def drawn() -> list[int]:
        random.seed(0)
        return [free_port() for _ in range(20)]

    assert drawn() != drawn()
