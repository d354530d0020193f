"""Reads what the fields of a model mean from the texts beneath them, so that no second description can drift."""

import ast
import inspect
import textwrap
from itertools import pairwise

from pydantic import BaseModel

__all__ = ["field_docs"]


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """Return each field's explanation in one line; fields without one are absent.

    Args:
        model: Core's own or a plug-in's. Its inherited fields are looked up where they were written.
    """
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if owner is not BaseModel and issubclass(owner, BaseModel):
            found |= _below_fields(owner)
    found |= {name: field.description for name, field in model.model_fields.items() if field.description}
    return {
        name: " ".join(text.split()).replace("``", "`") for name, text in found.items() if name in model.model_fields
    }


def _below_fields(owner: type[BaseModel]) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    except (OSError, TypeError, SyntaxError):  # installed without its source
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    return {
        field.target.id: text.value.value
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
