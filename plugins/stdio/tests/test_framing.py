"""Lines out of chunks: nothing lost, nothing too long kept, in linear time."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra_stdio.framing import CutLine, Lines

chunks = st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"x", b"\n")), max_size=20)


def all_lines(lines: Lines, chunks: list[bytes]) -> list[bytes | CutLine]:
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    rest = lines.rest()
    return found if rest is None else [*found, rest]


@given(chunks)
def test_the_lines_do_not_depend_on_how_they_arrive(chunks: list[bytes]):
    whole = b"".join(chunks).split(b"\n")
    expected = whole if whole[-1] else whole[:-1]
    assert all_lines(Lines(10_000), chunks) == expected


@given(chunks, st.integers(0, 60))
def test_exactly_the_lines_over_the_limit_are_cut(chunks: list[bytes], limit: int):
    whole = b"".join(chunks).split(b"\n")
    expected = [line if len(line) <= limit else CutLine(line[:4096]) for line in (whole if whole[-1] else whole[:-1])]
    found = all_lines(Lines(limit), chunks)
    assert [isinstance(line, CutLine) for line in found] == [isinstance(line, CutLine) for line in expected]
    for line, original in zip(found, expected, strict=True):
        if isinstance(line, CutLine) and isinstance(original, CutLine):
            assert original.head.startswith(line.head)
        else:
            assert line == original


def test_of_an_endless_line_only_the_beginning_is_kept():
    lines = Lines(1_000_000)
    tracemalloc.start()
    try:
        for _ in range(2000):
            assert list(lines.feed(b"a" * 65_536)) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000  # of 131 MB
    assert list(lines.feed(b"\nnext\n")) == [CutLine(b"a" * 4096), b"next"]


def test_a_long_line_in_very_many_pieces_costs_no_more_than_its_length():
    lines = Lines(20_000_000)
    for _ in range(200_000):  # joining what is there with each piece would copy a terabyte
        assert list(lines.feed(b"a" * 50)) == []
    (line,) = lines.feed(b"\n")
    assert line == b"a" * 10_000_000
