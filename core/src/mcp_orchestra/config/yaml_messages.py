"""Says in our own words why a text is not YAML."""

from typing import Any

from yaml import YAMLError

from mcp_orchestra.config.tree import Mark

__all__ = ["syntax_problem"]

# By a part of what libyaml or PyYAML says. The first that fits is taken.
_MEANINGS = (
    (
        "mapping values are not allowed",
        'a ":" is not expected here; quote a text that holds one, and check the indentation',
    ),
    ("unexpected end of stream", "this quoted text has no closing quote"),
    ("document separator", "this quoted text has no closing quote"),
    ("document indicator", "this quoted text has no closing quote"),
    ("escape", 'unknown escape in a "double-quoted" text; double the backslash or use single quotes'),
    ("hexdecimal", 'unknown escape in a "double-quoted" text; double the backslash or use single quotes'),
    ("tab character", "indent with spaces, not with tabs"),
    ("'\\t'", "indent with spaces, not with tabs"),
    ("cannot start any token", "this character cannot start a value; put the value in quotes, and indent with spaces"),
    ("',' or ']'", 'expected "," or "]" to go on with or close the list that starts here'),
    ("',' or '}'", 'expected "," or "}" to go on with or close the mapping that starts here'),
    ("expected ':'", 'expected ":" after this key'),
    ("expected key", "expected another key of the mapping that starts here; check the indentation"),
    ("'-' indicator", 'expected another "- " of the list that starts here; check the indentation'),
    ("<block end>", "expected another entry of what starts here; check the indentation"),
    ("sequence entries", 'a "- " is not expected here; start the list on its own line'),
    ("<document start>", "more text after the end of the document"),
    ("node content", 'expected a value; quote a text that starts with a special character such as "@", "%" or ","'),
    ("directive", 'a line that starts with "%" is a YAML directive; put a value in quotes'),
    ("tag", "this YAML tag cannot be read; put a value that starts with ! in quotes"),
    ("alphabetic or numeric", 'an anchor (&) or alias (*) needs a name; quote a text that starts with "&" or "*"'),
    ("anchor", 'an anchor (&) or alias (*) needs a name; quote a text that starts with "&" or "*"'),
)
# Where something was left open, its start says more than the place where that was noticed.
_AT_THE_START = ("starts here", "closing quote", "after this key")


def syntax_problem(error: YAMLError) -> tuple[Mark | None, str]:
    """Return the place and our explanation of an error of the YAML reader, without any text of the file."""
    said = " ".join(str(part) for part in (getattr(error, "problem", None), getattr(error, "context", None)) if part)
    message = next((meaning for part, meaning in _MEANINGS if part in said), "this is not valid YAML")
    place: Any = getattr(error, "problem_mark", None)
    if any(phrase in message for phrase in _AT_THE_START):
        place = getattr(error, "context_mark", None) or place
    return (Mark(place.line + 1, place.column + 1) if place else None), message
