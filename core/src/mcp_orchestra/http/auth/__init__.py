"""How requests to one server get its credentials: a bearer token, or one that is fetched and renewed."""

__all__: list[str] = []
