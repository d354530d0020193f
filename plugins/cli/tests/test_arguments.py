import pytest
from mcp_orchestra_cli.arguments import needs_schema, tool_arguments
from mcp_orchestra_cli.failures import UsageError

SCHEMA = {
    "type": "object",
    "$defs": {"Level": {"enum": [1, 2, 3]}, "Colour": {"enum": ["red", "blue"]}, "Loop": {"$ref": "#/$defs/Loop"}},
    "properties": {
        "text": {"type": "string"},
        "count": {"type": "integer"},
        "ratio": {"type": "number"},
        "on": {"type": "boolean"},
        "tags": {"type": "array"},
        "options": {"type": "object"},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "name": {"type": ["string", "null"]},
        "level": {"$ref": "#/$defs/Level"},
        "colour": {"$ref": "#/$defs/Colour"},
        "loop": {"$ref": "#/$defs/Loop"},
        "anything": {},
        "fixed": {"const": True},
    },
}


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("text=5", "5"),
        ("text=", ""),
        ("text=a=b", "a=b"),
        ("count=5", 5),
        ("count=-1", -1),
        ("ratio=0.5", 0.5),
        ("ratio=2", 2),
        ("on=true", True),
        ('tags=["a", "b"]', ["a", "b"]),
        ('options={"a": 1}', {"a": 1}),
        ("maybe=null", None),
        ("maybe=7", 7),
        ("name=null", "null"),
        ("level=2", 2),
        ("colour=red", "red"),
        ("loop=1", "1"),
        ("anything=1", "1"),
        ("unknown=1", "1"),
        ("fixed=true", True),
        ("anything:=1", 1),
        ("text:=5", 5),
        ('unknown:=["x"]', ["x"]),
    ],
)
def test_a_value_is_read_as_the_tool_wants_it(pair, value):
    (found,) = tool_arguments([pair], None, SCHEMA).values()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("count=many", "argument count: expected integer"),
        ("count=1.5", "argument count: expected integer"),
        ("count=true", "argument count: expected integer"),
        ("on=yes", "argument on: expected boolean"),
        ("ratio=NaN", "argument ratio: expected number"),
        ("ratio=1e999", "argument ratio: expected number"),
        ("maybe=x", "argument maybe: expected integer or null"),
        ("tags=a", "argument tags: expected array"),
        ("text:=a", "argument text: expected valid JSON"),
        ("nonsense", "expected key=value"),
        ("=x", "expected key=value"),
        (":=1", "expected key=value"),
        ("tags=" + "[" * 100_000, "argument tags: expected array"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_called(pair, says):
    with pytest.raises(UsageError, match=says):
        tool_arguments([pair], None, SCHEMA)


def test_an_argument_given_twice_is_refused():
    with pytest.raises(UsageError, match="argument text: given twice"):
        tool_arguments(["text=a", "text:=1"], None, SCHEMA)


def test_pairs_win_over_the_object():
    assert tool_arguments(["text=b"], '{"text": "a", "count": 1}', SCHEMA) == {"text": "b", "count": 1}


@pytest.mark.parametrize("given", ["[]", "nonsense", '{"a": NaN}'])
def test_the_object_must_be_a_json_object(given):
    with pytest.raises(UsageError, match="--args: expected"):
        tool_arguments([], given, SCHEMA)


def test_only_plain_values_depend_on_the_schema():
    assert needs_schema(["a=1"])
    assert not needs_schema(["a:=1"])
    assert not needs_schema([])
