"""The keys under which the orchestrator keeps what it caches (listed in docs/reference/cache.md)."""

__all__ = ["resources_key", "server_of", "templates_key", "tools_key"]

_RESOURCES, _TEMPLATES, _TOOLS = "resources:", "templates:", "tools:"


def resources_key(server_id: str) -> str:
    """Return the key under which a server's gathered resources are kept."""
    return _RESOURCES + server_id


def templates_key(server_id: str) -> str:
    """Return the key under which a server's resource templates are kept."""
    return _TEMPLATES + server_id


def tools_key(server_id: str) -> str:
    """Return the key under which a server's list of tools is kept."""
    return _TOOLS + server_id


def server_of(key: str) -> str:
    """Return the id of the server that a key of ours is about; the empty text, which is no id, for any other key."""
    for kind in (_RESOURCES, _TEMPLATES, _TOOLS):
        if key.startswith(kind):
            return key.removeprefix(kind)
    return ""
