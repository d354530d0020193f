"""A store in the memory of this process hands out the very objects that it was given; any store may give notice."""
# ruff: noqa: D102, S101 - tests assert, and their names say what they are about

from collections.abc import Mapping, Sequence
from typing import Never, Protocol, cast

import pytest

from mcp_orchestra.stores import CacheStore, GivesNotice, KeepsObjects, StoredObject
from mcp_orchestra.testing.cache_stores.place import entry, tomorrow
from mcp_orchestra.testing.cache_stores.rules import StoreTests, needs

__all__ = ["ObjectTests"]


class ObjectKeeping(CacheStore, KeepsObjects, Protocol):
    """A store that keeps objects, for those who check types."""


class _Untouchable:
    """Refuses to be compared, copied, hashed, measured or written down."""

    def _refuse(self, *_: object) -> Never:
        raise AssertionError("the store looked into an object that it was to keep")

    __bool__ = __eq__ = __hash__ = __len__ = __copy__ = __deepcopy__ = __reduce_ex__ = __sizeof__ = __repr__ = _refuse


def _kept(value: object = "value", plus: float = 0.0) -> StoredObject:
    return StoredObject(value, tomorrow(plus), 10)


class ObjectTests(StoreTests):
    """`KeepsObjects` and `GivesNotice`."""

    @pytest.fixture
    def objects(self, store: CacheStore) -> ObjectKeeping:
        """Return the store, known to keep objects."""
        return cast("ObjectKeeping", store)

    @needs(KeepsObjects)
    def test_the_very_object_comes_back(self, objects: ObjectKeeping) -> None:
        values: dict[str, object] = {"a": _Untouchable(), "b": [], "c": None, "": lambda: 1, "\ud800": b"bytes"}
        evicted = objects.set_objects({key: _kept(value, 0.1) for key, value in values.items()})
        assert type(evicted) is int
        assert evicted == 0
        returned = objects.get_objects([*values, "x"])
        assert isinstance(returned, Mapping)
        assert set(returned) == set(values)
        for key, value in values.items():
            assert type(returned[key]) is StoredObject
            assert returned[key].value is value
            assert returned[key].expires_at == tomorrow(0.1)

    @needs(KeepsObjects)
    def test_objects_are_counted_purged_deleted_and_cleared_as_bytes_are(self, objects: ObjectKeeping) -> None:
        objects.set_objects({"a": _kept(plus=1), "b": _kept(plus=2), "c": _kept(plus=2), "d": _kept(plus=2)})
        assert (objects.count(tomorrow()), objects.count(tomorrow(1)), objects.count(tomorrow(2))) == (4, 3, 0)
        assert objects.purge(tomorrow(1)) == 1
        assert set(objects.get_objects(["a", "b", "c"])) == {"b", "c"}
        assert objects.delete_many(["a", "b"]) == 1
        assert set(objects.get_objects(["a", "b", "c"])) == {"c"}
        objects.clear()
        assert dict(objects.get_objects(["c", "d"])) == {}

    @needs(KeepsObjects)
    def test_an_object_is_never_returned_in_place_of_bytes_nor_the_other_way_round(
        self, objects: ObjectKeeping
    ) -> None:
        objects.set_objects({"object": _kept(b"bytes")})
        objects.set_many({"bytes": entry()})
        assert dict(objects.get_many(["object", "bytes"])) == {"bytes": entry()}
        assert set(objects.get_objects(["object", "bytes"])) == {"object"}

    @needs(KeepsObjects)
    def test_an_object_and_bytes_replace_each_other(self, objects: ObjectKeeping) -> None:
        objects.set_many({"a": entry()})
        objects.set_objects({"a": _kept()})
        assert dict(objects.get_many(["a"])) == {}
        assert objects.count(0.0) == 1
        objects.set_many({"a": entry()})
        assert dict(objects.get_objects(["a"])) == {}
        assert dict(objects.get_many(["a"])) == {"a": entry()}
        assert objects.delete_many(["a"]) == 1

    @needs(KeepsObjects)
    def test_a_new_object_replaces_the_old_one(self, objects: ObjectKeeping) -> None:
        objects.set_objects({"a": _kept("old", 5)})
        objects.set_objects({"a": _kept("new", 1)})
        assert dict(objects.get_objects(["a"])) == {"a": _kept("new", 1)}
        assert objects.purge(tomorrow(1)) == 1

    @needs(GivesNotice)
    def test_its_notices_are_texts(self, store: CacheStore) -> None:
        notices = cast("GivesNotice", store).notices()
        assert isinstance(notices, Sequence)
        assert not isinstance(notices, str)
        assert [notice for notice in notices if not notice.strip()] == []
