"""A dict whose parts are copied when somebody reaches for them, and not before."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

__all__ = ["Handout"]

_MISSING: Any = object()


class Handout(dict[str, Any]):
    """Shared data for one who may do to it as he likes; most never look at most of it.

    Whatever is reached through it is the caller's own: a part is replaced by a copy when it is first asked for, alone
    or with all others. Code that reads the dict without asking it, as JSON encoders written in C do, sees the shared
    data, which is the same.

    Args:
        shared: The data; its values are not to be changed.
        copies: For each key what makes a copy of its value; those of others belong to the caller already.
    """

    __slots__ = ("_copies", "_own")

    def __init__(
        self,
        shared: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        copies: Mapping[str, Callable[[], Any]] | None = None,
    ) -> None:
        super().__init__(shared)
        self._copies = copies or {}
        self._own: set[str] | None = None

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        own = self._own
        if own is None:
            own = self._own = set()
        if key in own:
            return value
        if (copy := self._copies.get(key)) is None:
            return value
        value = copy()
        super().__setitem__(key, value)
        own.add(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if self._own is None:
            self._own = set()
        self._own.add(key)
        super().__setitem__(key, value)

    def __iter__(self) -> Any:
        # Not for its own sake: dict(handout) and the like take the values without asking if this is not overridden.
        return super().__iter__()

    def __or__(self, other: Any) -> Any:
        return self.copy() | other

    def __ror__(self, other: Any) -> Any:
        return other | self.copy()

    def __ior__(self, other: Any) -> Any:
        self.update(other)
        return self

    def __copy__(self) -> dict[str, Any]:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(self.copy(), memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (self.copy(),)

    def copy(self) -> dict[str, Any]:
        """Return a plain dict with the same values."""
        return {key: self[key] for key in self}

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value under the key, or the default."""
        return self[key] if key in self else default  # noqa: SIM401  # which would be this method

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value under the key, which is the default if there was none."""
        if key not in self:
            self[key] = default
        return self[key]

    def values(self) -> Any:
        """Return a view of the values."""
        self._settle()
        return super().values()

    def items(self) -> Any:
        """Return a view of the keys and values."""
        self._settle()
        return super().items()

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        """Remove a key and return its value."""
        if key in self:
            self[key]
            return super().pop(key)
        if default is _MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[str, Any]:
        """Remove the last key and return it with its value."""
        if self:
            self[next(reversed(self))]
        return super().popitem()

    def update(self, /, *others: Any, **values: Any) -> None:
        """Take over keys and values."""
        for key, value in dict(*others, **values).items():
            self[key] = value

    def _settle(self) -> None:
        for key in self:
            self[key]
