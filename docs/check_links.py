"""Checks that every link of the built pages leads somewhere: ``python docs/check_links.py site``.

The build checks what is written on a page itself, but not what it includes from elsewhere, nor anchors.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an anchor or a link."""
        values = dict(attrs)
        self.anchors.update(name for name in (values.get("id"), values.get("name")) if name)
        if tag in {"a", "link", "img", "script"} and (link := values.get("href") or values.get("src")):
            self.links.append(link)


def dead_links(site: Path) -> list[str]:
    """Return a line for each link within the site that leads nowhere."""
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    dead: list[str] = []
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                dead.append(f"{path.relative_to(site.resolve())}: {link}")
    return dead


if __name__ == "__main__":
    sys.exit("\n".join(dead_links(Path(sys.argv[1]))) or 0)
