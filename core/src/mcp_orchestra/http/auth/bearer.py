"""A bearer token from the configuration, a file or the environment."""

from collections.abc import Callable

from mcp_orchestra.http.auth.options import BearerAuth
from mcp_orchestra.http.auth.secret import Secret

__all__ = ["BearerCredentials"]


class BearerCredentials:
    """Presents a token, whatever it is at the moment.

    Args:
        options: Where it is.
        hide: Told each token, so that it is not shown.
    """

    def __init__(self, options: BearerAuth, hide: Callable[[str], None]) -> None:
        self._token = Secret("token", options.token, options.token_file, options.token_env, hide)

    async def authorization(self) -> str:
        """Return the value of the ``Authorization`` header.

        Raises:
            NotSentError: There is no token.
        """
        return f"Bearer {self._token.read()}"

    async def renewed(self, refused: str | None, challenge: str | None) -> str | None:
        """Return another header than the refused one, if the token has been changed meanwhile."""
        present = await self.authorization()
        return present if present != refused else None

    def accepted(self, authorization: str | None) -> None:
        """Take note that a server has accepted the header: that says nothing about the next."""
