"""What has to happen in one step at the server, and how it is called there."""

import hashlib
from collections.abc import Callable, Sequence

from redis.exceptions import NoScriptError, ResponseError, TryAgainError

from mcp_orchestra_redis.servers import Command, Servers
from mcp_orchestra_redis.wire import Reply, Words

__all__ = ["ACQUIRE", "DROP", "PURGE", "RELEASE", "RENEW", "STORE", "Apart", "Call", "Script", "call"]

Call = tuple[Sequence[bytes], Words]
"""The names that a script is about, all of one slot, and its arguments."""

Apart = Callable[[Servers, Call], Reply]
"""Does in several steps what a script does in one."""


class Script:
    """A Lua script.

    Args:
        source: Its text.
    """

    def __init__(self, source: str) -> None:
        self.source: str = source
        self.digest: str = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        """What the server calls it."""


# Changes are published in the step that makes them: whoever is told of one cannot read what was there before.
STORE = Script(
    """
    if ARGV[5] and redis.pcall('GET', KEYS[2]) ~= ARGV[5] then return false end
    local stored = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    if stored.err then redis.call('UNLINK', KEYS[1]) end
    redis.call('UNLINK', KEYS[2])
    redis.call('PUBLISH', ARGV[3], ARGV[4])
    return stored
    """
)
"""Names: entry, lease. Arguments: value, milliseconds, channel, message and, if the lease must be held, its holder.
What was there before is gone even if there is no room for what should be there now."""

DROP = Script(
    """
    local dropped = redis.call('UNLINK', KEYS[1])
    redis.call('UNLINK', KEYS[2])
    redis.call('PUBLISH', ARGV[1], ARGV[2])
    return dropped
    """
)
"""Names: entry, lease. Arguments: channel, message."""

PURGE = Script(
    """
    if redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1) ~= ARGV[1] then return 0 end
    return redis.call('UNLINK', KEYS[1])
    """
)
"""Name: entry. Argument: what it begins with, if nobody has stored another one meanwhile."""

ACQUIRE = Script(
    """
    local holder = redis.pcall('GET', KEYS[1])
    if type(holder) == 'string' and holder ~= ARGV[1] then
        local left = redis.call('PTTL', KEYS[1])
        if left >= 0 and left <= tonumber(ARGV[3]) then return 0 end
    end
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    return 1
    """
)
"""Name: lease. Arguments: holder, milliseconds, and how many a lease has at most: what has more, or no end, is none."""

RENEW = Script(
    """
    if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])
    """
)
"""Name: lease. Arguments: holder, milliseconds."""

RELEASE = Script(
    """
    if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
    return redis.call('UNLINK', KEYS[1])
    """
)
"""Name: lease. Argument: holder."""


def call(servers: Servers, script: Script, calls: Sequence[Call], *, apart: Apart | None = None) -> list[Reply]:
    """Run a script for each call and return what each returns.

    Args:
        servers: Where.
        script: What to run.
        calls: What about, and with what.
        apart: Does the same in several steps, for names of which some have been moved and others not.

    Raises:
        ResponseError: The first error that a server answered with; every call was made nevertheless.
    """
    replies = servers.run([_command("EVALSHA", script.digest, one) for one in calls])
    unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    # A server that has not seen the script, or has restarted since, learns it from the first of these.
    again = servers.run([_command("EVAL", script.source, calls[index]) for index in unknown])
    for index, reply in zip(unknown, again, strict=True):
        replies[index] = reply
    if apart is not None:
        for index, reply in enumerate(replies):
            if isinstance(reply, TryAgainError):
                replies[index] = apart(servers, calls[index])
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
    return replies


def _command(verb: str, script: str, one: Call) -> Command:
    names, arguments = one
    return Command(names[0], (verb, script, len(names), *names, *arguments))
