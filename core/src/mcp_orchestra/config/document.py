"""Turns the text of a configuration file into a tree whose values know where they were written."""

import pathlib

from mcp_orchestra.config.files import FileProblemError, read_text
from mcp_orchestra.config.json_tree import parse_json
from mcp_orchestra.config.problems import Problems
from mcp_orchestra.config.tree import Mark, Node, kind_of
from mcp_orchestra.config.yaml_tree import parse_yaml

__all__ = ["MAX_BYTES", "read_document"]

MAX_BYTES = 1_000_000
"""The largest configuration file."""


def read_document(problems: Problems, file: pathlib.Path) -> Node:
    """Read and parse a configuration file: JSON (with comments) or YAML, told apart by the file's name.

    A file that is called neither ``.json``, ``.jsonc``, ``.yaml`` nor ``.yml`` is JSON if it starts with ``{``.

    Args:
        problems: Receives what is wrong but does not hinder reading on, such as a repeated key.
        file: The file; for messages it is named as it was given.

    Returns:
        The top of the tree: always a mapping.

    Raises:
        ConfigurationError: The file cannot be read, or what is in it is neither.
    """
    text, failure = "", None
    try:
        text = read_text(file, MAX_BYTES)
    except FileProblemError as error:
        failure = error
    if failure is not None:
        mark = Mark(failure.line, failure.column) if failure.line else None
        problems.fatal(mark, (), f"the file {failure.reason}")
    root = parse_json(text, problems) if _is_json(file, text) else parse_yaml(text, problems)
    if root is None or root.value is None:
        problems.fatal(None, (), "the file is empty; expected a mapping with mcp_servers")
    if not isinstance(root.value, dict):
        problems.fatal(root.mark, (), f"expected a mapping with mcp_servers, got {kind_of(root.value)}")
    return root


def _is_json(file: pathlib.Path, text: str) -> bool:
    match file.suffix.lower():
        case ".json" | ".jsonc":
            return True
        case ".yaml" | ".yml":
            return False
        case _:
            return text.lstrip().startswith(("{", "//", "/*"))
