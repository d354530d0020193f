"""What a store can do besides keeping bytes."""

from dataclasses import dataclass
from typing import Self

from mcp_orchestra.stores import CacheStore, GivesNotice, GrantsLeases, KeepsObjects, TellsOfChanges

__all__ = ["Abilities"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Abilities:
    """The store itself for each ability that it has, None for each that it has not."""

    objects: KeepsObjects | None = None
    leases: GrantsLeases | None = None
    changes: TellsOfChanges | None = None
    notices: GivesNotice | None = None

    @classmethod
    def of(cls, store: CacheStore) -> Self:
        """Return the abilities of a store; to find out may take its attributes, and one that raises has none."""
        try:
            return cls(
                objects=store if isinstance(store, KeepsObjects) else None,
                leases=store if isinstance(store, GrantsLeases) else None,
                changes=store if isinstance(store, TellsOfChanges) else None,
                notices=store if isinstance(store, GivesNotice) else None,
            )
        except Exception:  # noqa: BLE001  # a store may raise anything
            return cls()
