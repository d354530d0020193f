"""A Handout is a dict of copies, made when somebody reaches for them: S31 for repeated gathers."""

import json
import pickle
from collections import OrderedDict
from copy import copy, deepcopy
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from mcp_orchestra.handout import Handout
from pydantic import TypeAdapter
from pydantic_core import to_json

KEYS = st.sampled_from(["a", "b", "c", "d"])
PARTS = st.fixed_dictionaries({"list": st.lists(st.integers(0, 9), max_size=2)})
SHARED = st.dictionaries(KEYS, PARTS, max_size=4)


def handout(shared: dict[str, Any]) -> Handout:
    return Handout(shared, {key: partial(deepcopy, part) for key, part in shared.items()})


def three() -> dict[str, Any]:
    return {"a": {"list": [1]}, "b": {"list": [2]}, "c": {"list": [3]}}


def keywords(**given: Any) -> dict[str, Any]:
    return given


def matched(value: object) -> object:
    match value:
        case {"a": part, **rest}:
            return [part, rest]
        case _:
            return None


def destructured(value: Any) -> list[Any]:
    return [value[key] for key in value]


def added_to(value: Any) -> Any:
    value |= {"z": 1}
    return value


REACHES: dict[str, Any] = {
    "getitem": lambda h: h["a"],
    "get": lambda h: h.get("a"),
    "get with a default": lambda h: h.get("a", 5),
    "items": lambda h: list(h.items()),
    "values": lambda h: list(h.values()),
    "iteration": destructured,
    "sorted items": lambda h: sorted(h.items(), key=str),
    "max by value": lambda h: max(h.values(), key=str),
    "pop": lambda h: h.pop("a"),
    "pop with a default": lambda h: h.pop("a", None),
    "popitem": lambda h: h.popitem(),
    "setdefault": lambda h: h.setdefault("a", 5),
    "or": lambda h: h | {"z": 1},
    "or from the right": lambda h: {"z": 1} | h,
    "or with its like": lambda h: handout({"z": {"list": [9]}}) | h,
    "or with an ordered dict": lambda h: OrderedDict(z=1) | h,
    "in-place or": added_to,
    "in-place or from the right": lambda h: (lambda d: d.__ior__(h))({"z": 1}),
    "copy method": lambda h: h.copy(),
    "copy": copy,
    "deepcopy": deepcopy,
    "pickle": lambda h: pickle.loads(pickle.dumps(h)),
    "oldest pickle": lambda h: pickle.loads(pickle.dumps(h, 0)),
    "json": lambda h: json.loads(json.dumps(h)),
    "indented json": lambda h: json.loads(json.dumps(h, indent=1)),
    "pydantic json": lambda h: json.loads(to_json(h)),
    "pydantic": lambda h: TypeAdapter(dict[str, Any]).validate_python(h),
    "strict pydantic": lambda h: TypeAdapter(dict[str, dict[str, list[int]]]).validate_python(h, strict=True),
    "pydantic dump": lambda h: TypeAdapter(dict[str, Any]).dump_python(h),
    "dict": dict,
    "dict and more": lambda h: dict(h, z=1),
    "dict of pairs": lambda h: dict(h.items()),
    "ordered dict": OrderedDict,
    "update of another": lambda h: (lambda d: (d.update(h), d)[1])({}),
    "unpacked into a dict": lambda h: {**h},
    "unpacked into a call": lambda h: keywords(**h),
    "match": matched,
    "list of pairs": lambda h: [*h.items()],
    "comprehension": lambda h: {k: v for k, v in h.items() if k != "b"},
    "view kept from before": lambda h: list((h.items(), h["b"])[0]),
    "repr": lambda h: eval(repr(h)),
    "reversed": lambda h: [h[key] for key in reversed(h)],
}


def spoil(found: object) -> None:
    """Change everything that can be reached."""
    if isinstance(found, dict):
        for value in list(found.values()):
            spoil(value)
        found["spoilt"] = True
    elif isinstance(found, (list, tuple)):
        for value in found:
            spoil(value)
        if isinstance(found, list):
            found.append("spoilt")


@pytest.mark.parametrize("reach", REACHES)
def test_s31_it_gives_what_a_dict_gives_and_nothing_that_is_shared(reach):
    shared = three()
    one, other = handout(shared), handout(shared)

    found = REACHES[reach](one)

    plain = REACHES[reach](three())
    assert found == plain
    assert type(found) is type(plain) or found is one
    spoil(found)
    assert shared == three()
    assert other == three()
    assert REACHES[reach](other) == plain


@pytest.mark.parametrize("reach", REACHES)
def test_s31_what_its_owner_did_to_it_shows_however_it_is_reached(reach):
    def change(owned: dict[str, Any]) -> dict[str, Any]:
        owned["a"]["list"].append(7)
        owned["b"] = {"list": [8]}
        return owned

    assert REACHES[reach](change(handout(three()))) == REACHES[reach](change(three()))


def test_a_part_is_copied_once_and_stays_the_same():
    made: list[str] = []
    shared = three()
    owned = Handout(shared, {key: lambda key=key: (made.append(key), deepcopy(shared[key]))[1] for key in shared})
    assert len(owned) == 3
    assert "a" in owned
    assert list(owned) == list(owned.keys()) == ["a", "b", "c"]
    assert made == []

    assert owned["a"] is owned["a"] is owned.get("a") is owned.setdefault("a")
    assert made == ["a"]
    assert dict(owned)["b"] is next(part for key, part in owned.items() if key == "b")
    assert made == ["a", "b", "c"]


def test_s31_a_part_that_cannot_be_copied_is_never_handed_out_instead():
    def refuse() -> dict[str, Any]:
        raise KeyError("no copy")

    owned = Handout({"a": {"list": [1]}}, {"a": refuse})
    for reach in ("getitem", "get", "values", "items", "pop", "pop with a default", "popitem", "setdefault", "dict"):
        for _ in range(2):
            with pytest.raises(KeyError, match="no copy"):
                REACHES[reach](owned)
    assert list(owned) == ["a"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda h: h["z"], KeyError),
        (lambda h: h.pop("z"), KeyError),
        (lambda h: h | 5, TypeError),
        (lambda h: 5 | h, TypeError),
        (lambda h: h.update({}, {}), TypeError),
        (lambda h: h.update(5), TypeError),
        (lambda h: hash(h), TypeError),
        (lambda h: h[[]], TypeError),
        (lambda h: handout({}).popitem(), KeyError),
    ],
)
def test_what_is_wrong_for_a_dict_is_wrong_for_it(wrong, error):
    with pytest.raises(error):
        wrong(handout(three()))
    assert handout(three()) == three()


def test_it_is_a_dict_of_any_keys_and_words():
    owned = handout(three())
    owned.update(self=1, other=2)
    owned.update([("x", 3)], y=4)
    owned |= [("w", 5)]

    assert owned == three() | {"self": 1, "other": 2, "x": 3, "y": 4, "w": 5}
    assert isinstance(owned, dict)
    assert not handout({})


class TwoHandouts(RuleBasedStateMachine):
    """Two of them over one shared dict, each beside a dict that nobody shares."""

    @initialize(shared=SHARED)
    def start(self, shared: dict[str, Any]) -> None:
        self.shared = shared
        self.before = deepcopy(shared)
        self.pairs = [(handout(shared), deepcopy(shared)) for _ in range(2)]

    def both(self, which: bool, action: Any) -> None:
        results = []
        for one in self.pairs[which]:
            try:
                results.append(action(one))
            except KeyError as error:
                results.append(error.args)
        assert results[0] == results[1]

    @rule(which=st.booleans(), key=KEYS)
    def change_what_is_inside(self, which: bool, key: str) -> None:
        self.both(which, lambda one: one[key]["list"].append(1))

    @rule(which=st.booleans(), key=KEYS)
    def change_what_get_returned(self, which: bool, key: str) -> None:
        self.both(which, lambda one: one.get(key, {}).update(x=1))

    @rule(which=st.booleans())
    def change_all_values(self, which: bool) -> None:
        self.both(which, lambda one: [value.setdefault("y", 0) for value in one.values()])

    @rule(which=st.booleans(), key=KEYS, part=PARTS)
    def setitem(self, which: bool, key: str, part: dict) -> None:
        self.both(which, lambda one: one.__setitem__(key, deepcopy(part)))

    @rule(which=st.booleans(), key=KEYS)
    def delitem(self, which: bool, key: str) -> None:
        self.both(which, lambda one: one.__delitem__(key))

    @rule(which=st.booleans(), key=KEYS)
    def pop(self, which: bool, key: str) -> None:
        self.both(which, lambda one: one.pop(key))

    @rule(which=st.booleans())
    def popitem(self, which: bool) -> None:
        self.both(which, lambda one: one.popitem())

    @rule(which=st.booleans(), key=KEYS, part=PARTS)
    def setdefault(self, which: bool, key: str, part: dict) -> None:
        self.both(which, lambda one: one.setdefault(key, deepcopy(part)).update(z=1))

    @rule(which=st.booleans(), more=SHARED)
    def update(self, which: bool, more: dict) -> None:
        self.both(which, lambda one: one.update(deepcopy(more)))

    @rule(which=st.booleans(), more=SHARED)
    def in_place_or(self, which: bool, more: dict) -> None:
        self.both(which, lambda one: added(one, deepcopy(more)))

    @rule(which=st.booleans())
    def clear(self, which: bool) -> None:
        self.both(which, lambda one: one.clear())

    @rule(which=st.booleans())
    def take_over_from_the_other(self, which: bool) -> None:
        for one, other in zip(self.pairs[which], self.pairs[not which], strict=True):
            one.update(deepcopy(other))

    @rule(
        which=st.booleans(),
        reach=st.sampled_from(["copy method", "dict", "deepcopy", "pickle", "unpacked into a dict"]),
    )
    def copies_are_equal(self, which: bool, reach: str) -> None:
        self.both(which, REACHES[reach])

    @invariant()
    def each_is_like_its_dict_and_the_shared_data_is_as_it_was(self) -> None:
        for owned, plain in self.pairs:
            assert owned == plain
            assert list(owned) == list(plain)
            assert json.dumps(owned) == json.dumps(plain)
            assert to_json(owned) == to_json(plain)
            assert len(owned) == len(plain)
        assert self.shared == self.before


def added(one: Any, more: dict) -> Any:
    one |= more
    return dict(one)


TwoHandouts.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_s31_two_over_one_shared_dict_never_see_each_others_changes = TwoHandouts.TestCase


@given(SHARED, SHARED)
def test_it_equals_what_a_dict_equals(one, other):
    assert (handout(one) == other) == (one == other) == (other == handout(one))
    assert (handout(one) != handout(other)) == (one != other)
    assert handout(one) | other == one | other
    assert other | handout(one) == other | one
