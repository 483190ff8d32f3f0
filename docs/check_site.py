"""Check a built site: nothing is fetched from elsewhere, and every link within it leads somewhere.

python docs/check_site.py site
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src",
           "audio": "src", "embed": "src", "object": "data"}  # fmt: skip
NOT_FETCHED = {"canonical", "next", "prev", "alternate"}


class Links(HTMLParser):
    """The links, anchors and sources of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.scripts: list[str] = []
        self.anchors: set[str] = {"", "top"}
        self.feed(text)

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script":
            self.scripts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = {key: value or "" for key, value in attrs}
        self.anchors |= {own[key] for key in ("id", "name") if key in own}
        if tag == "a" and "href" in own:
            self.links.append(own["href"])
        if tag == "link" and not set(own.get("rel", "").split()) & NOT_FETCHED:
            self.fetched.append(own.get("href", ""))
        if tag in FETCHED and FETCHED[tag] in own:
            self.fetched.append(own[FETCHED[tag]])


def problems(site: Path) -> list[str]:
    """What is wrong with a site, one line each.

    Args:
      site: the folder that mkdocs has built.

    Raises:
      ValueError: if it holds no page.
    """
    pages = {
        path.resolve(): Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")
    }
    if not pages:
        raise ValueError(f"{site} holds no page; build it first: make docs.")
    found = []
    for page, links in sorted(pages.items()):
        name = page.relative_to(site.resolve())
        for script in links.scripts:
            loaded = re.findall(r"(?:import|fetch)\s*\(?\s*[\"'](?:https?:)?//[^\"']+", script)
            found += [f"{name} has a script with {call}" for call in loaded]
        for link in links.links + links.fetched:
            parts = urlsplit(link)
            if parts.scheme in ("data", "mailto", "javascript", "blob"):
                continue
            if parts.scheme or parts.netloc:
                if link in links.fetched:
                    found.append(f"{name} fetches {link}")
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if target.is_dir():
                target = target / "index.html"
            if name.name == "404.html" and parts.path.startswith("/"):
                continue  # its links start at the server's root
            if not target.is_file():
                found.append(f"{name} links to {link}, which does not exist")
            elif target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{name} links to {link}, whose page has no such anchor")
    for sheet in sorted(site.rglob("*.css")):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)", text):
            found.append(f"{sheet.relative_to(site)} fetches {link}")
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "site")
    wrong = problems(folder)
    print("\n".join(wrong) or f"{folder}: all links lead somewhere, and nothing is fetched.")
    sys.exit(bool(wrong))
