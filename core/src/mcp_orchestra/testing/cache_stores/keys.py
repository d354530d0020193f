"""Keys are any text, and no two of them are the same."""
# ruff: noqa: D102, S101 - tests assert, and their names say what they are about

from random import Random

import pytest

from mcp_orchestra.stores import CacheStore
from mcp_orchestra.testing.cache_stores.place import entry
from mcp_orchestra.testing.cache_stores.rules import StoreTests

__all__ = ["KeyTests"]

_KEYS = {
    "empty": "",
    "blank": " ",
    "nul": "\0",
    "nul_inside": "a\0b",
    "newlines": "a\r\nb\n",
    "10_kb": "k" * 10_000,
    "not_ascii": "ключ 鍵 🔑",
    "a_lone_surrogate": "\ud800",
    "surrogates_the_wrong_way_round": "\udc00\ud800",
    "a_surrogate_that_stands_for_a_byte": "\udcff",
    "colons": "resources:a:b",
    "like_a_path": "../../a",
    "an_absolute_path": "/a/b",
    "a_reserved_name": "CON.",
    "quotes": "'a\" OR ''='",
    "percent": "100%s %41",
    "braces": "{a}b}{c",
    "glob": "*?[a-z]",
    "like": "_%",
    "a_number": "0",
    "as_in_json": '["a", null]',
}

_LOOK_ALIKES = {
    "case": ["straße", "STRASSE", "strasse", "Straße"],
    "composed_or_not": ["\u00e9", "e\u0301", "e"],
    "compatible_forms": ["\ufb01", "fi", "\uff46\uff49"],
    "blanks": ["", " ", "  ", "a", " a", "a ", "a\n", "\ta"],
    "nul": ["", "\0", "\0\0", "a", "a\0", "a\0b", "a\0c"],
    "numbers": ["1", "01", "1.0", "+1", "1e0", "True"],
    "surrogates": ["\ud800", "\udfff", "\ufffd", "?", "\\ud800", "\ud83d\udd11", "\U0001f511"],
    "escapes": ["a%3Ab", "a:b", "a_b", "a\\b", "a/b", "a\\x3ab", "a\\:b"],
    "parts": ["a", "a:", ":a", "a:b", "a:b:", "a::b"],
    "braces": ["{a}b", "{a}c", "a", "{a}", "{{a}}", "{}"],
    "patterns": ["*", "a*", "a?", "ab", "[ab]", "a%", "a_"],
    "same_at_the_start": ["k" * 10_000, "k" * 9_999, "k" * 9_999 + "l", "k" * 255, "k" * 256],
    "same_for_10_000": ["k" * 10_000, "k" * 10_001, "k" * 10_000 + "l", "k" * 10_000 + "lk", "k" * 10_002],
    "same_for_64_ki": ["k" * 65_535, "k" * 65_536, "k" * 65_535 + "l", "k" * 65_536 + "l", "k" * 65_537],
    "same_for_500_000": ["k" * 500_000, "k" * 500_001, "k" * 500_000 + "l"],
    "to_crc_32": ["plumless", "buckeroo"],
    "to_adler_32": ["bdb", "cbc"],
    "to_fnv_1a": ["costarring", "liquid"],
    "to_djb2": ["hetairas", "mentioner"],
    "to_hash_code": ["Aa", "BB"],
    "to_md5": [f"TEXTCOLLBYfGiJUETHQ4h{x}cKSMd5zYpgqf1YRDhkmxHkhPWptrkoyz28wnI9V0aHeAuaKnak" for x in "AE"],
    "empty_or_nothing": ["", "None", "null", "nil", "False"],
}

_BATCH = 2000
_STORED, _NOT_STORED = 30 * _BATCH, 170 * _BATCH  # so many pairs that even of 32 bits some would be the same


class KeyTests(StoreTests):
    """Odd keys, and keys that a store may take for one another."""

    @pytest.mark.parametrize("key", _KEYS.values(), ids=_KEYS)
    def test_any_text_is_a_key(self, store: CacheStore, key: str) -> None:
        store.set_many({key: entry(b"old"), "another": entry(b"other")})
        store.set_many({key: entry(b"new", 0.5)})
        assert dict(store.get_many([key])) == {key: entry(b"new", 0.5)}
        assert dict(store.get_many(["another", key])) == {key: entry(b"new", 0.5), "another": entry(b"other")}
        assert store.count(0.0) == 2
        assert store.delete_many([key]) == 1
        assert dict(store.get_many([key, "another"])) == {"another": entry(b"other")}

    @pytest.mark.parametrize("keys", _LOOK_ALIKES.values(), ids=_LOOK_ALIKES)
    def test_keys_that_look_alike_are_different_keys(self, store: CacheStore, keys: list[str]) -> None:
        entries = {key: entry(b"%d" % number) for number, key in enumerate(keys)}
        store.set_many(entries)
        assert dict(store.get_many(keys)) == entries
        assert store.count(0.0) == len(entries)
        while entries:
            key, _ = entries.popitem()
            assert store.delete_many([key]) == 1
            assert dict(store.get_many(keys)) == entries

    def test_of_very_many_keys_none_is_taken_for_another(self, store: CacheStore) -> None:
        random = Random(0)  # noqa: S311  # the same keys in every run
        keys = [f"{random.getrandbits(64):016x}" for _ in range(_STORED + _NOT_STORED)]
        batches = [keys[start : start + _BATCH] for start in range(0, len(keys), _BATCH)]
        for batch in batches[: _STORED // _BATCH]:
            store.set_many({key: entry(key.encode()) for key in batch})
        stored = set(keys[:_STORED])
        for batch in batches:
            returned = store.get_many(batch)
            assert stored.issuperset(returned)
            assert [key for key, found in returned.items() if found != entry(key.encode())] == []
