"""Ports for servers that have to be on the same one again after a restart."""

import random
import socket

__all__ = ["free_port"]

# Below those that systems give to outgoing connections: one of these would take the port of a server that is down.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a loopback port that nobody listens on, and that no outgoing connection is given meanwhile."""
    # Tests seed what is behind `random.choice`, and then processes that run them side by side draw the same ports.
    draw = random.SystemRandom()
    while True:
        port = draw.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
