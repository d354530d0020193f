"""Compares URIs with the templates that servers publish (RFC 6570, specification 2026-07-28, server/resources)."""

from collections.abc import Iterable

from mcp.shared.uri_template import InvalidUriTemplate, UriTemplate

__all__ = ["matches_any", "parsed"]


def parsed(templates: Iterable[str]) -> list[UriTemplate]:
    """Return the templates; one that is not valid, or too ambiguous to be compared with, is left out."""
    found: list[UriTemplate] = []
    for template in templates:
        try:
            found.append(UriTemplate.parse(template))
        except InvalidUriTemplate:
            continue
    return found


def matches_any(templates: Iterable[UriTemplate], uri: str) -> bool:
    """Return whether a URI may be an expansion of one of the templates; takes time in proportion to its length."""
    return any(template.match(uri) is not None for template in templates)
