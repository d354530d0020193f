"""Which templates a URI may be an expansion of."""

import pytest
from mcp_orchestra.connection.uri_templates import matches_any, parsed


@pytest.mark.parametrize(
    ("template", "uri", "matches"),
    [
        ("shop://{kind}/{id}", "shop://book/1", True),
        ("shop://{kind}/{id}", "shop://book/1/2", False),
        ("file:///{+path}", "file:///a/b/c.txt", True),
        ("file:///{+path}", "other:///a/b", False),
        ("x://list{?page,size}", "x://list?size=3", True),
        ("x://list{?page,size}", "x://list", True),
        ("x://a{/segments*}", "x://a/b/c", True),
        ("x://fixed", "x://fixed", True),
        ("x://fixed", "x://fixe", False),
    ],
)
def test_a_uri_is_compared_with_a_template(template, uri, matches):
    assert matches_any(parsed([template]), uri) is matches


def test_a_template_that_cannot_be_compared_with_hides_no_other():
    templates = parsed(["x://{", "x://{a}{b}", "{" * 9_000, "", "x://{id}"])
    assert matches_any(templates, "x://1")
    assert not matches_any(templates, "y://1")
