"""What the site adds to mkdocs: formulas as MathML, notebooks, the ledger, parts of the README."""

import re
from html import escape, unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from gradflow.claims import registered
from gradflow.claims.report.constants import constants_table
from gradflow.plotting import playground_page

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "results" / "theorems.html"
LEDGER = REPORT.with_suffix(".json")
MERMAID = r'<script type="module">(?:(?!</script>).)*mermaid.*?</script>'
PROJECT = ("CONTRIBUTING.md", "CHANGELOG.md")
"""Pages of the repository's root."""
BEHIND = ("api/", "CHANGELOG")
"""Pages that a search puts behind the guide."""
CAPTION = r"<em>(Figure \d+\..*?\.)(?=\s|</em>)"
NO_ALT = 'alt="No description has been provided for this image"'
CONSTANTS = "<!-- constants -->"
FORMULA = (
    r"(?<![\\$\w])(?:\$\$(?P<block>[^$]+)\$\$"
    r"|\$(?!\s)(?P<inline>[^$]+)(?<![\s\\])\$(?![\d$]))"
)


class _Formula(InlineProcessor):
    """$...$ and $$...$$ as MathML, which browsers draw by themselves."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:
        return self.md.htmlStash.store(mathml(m)), m.start(0), m.end(0)


class Formulas(Extension):
    """A Markdown extension: formulas, found after `code` and before escapes."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.register(_Formula(FORMULA, md), "formula", 185)


def mathml(found: re.Match[str]) -> str:
    """A formula that `FORMULA` found, as MathML; within HTML, < is written &lt;."""
    kind = "block" if found["block"] else "inline"
    return convert(unescape(found[kind]).strip(), display=kind)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add formulas, and to the navigation what there is of notebooks and results."""
    config.markdown_extensions.append(Formulas())  # type: ignore[arg-type]
    nav: list[Any] = config.nav or []
    results = [page.name for page in sorted((ROOT / "docs").glob("*20[0-9][0-9]*.md"))]
    for title, pages, place in (
        ("Notebooks", [f"notebooks/{path.name}" for path in notebooks()], 2),
        ("Results", results, len(nav)),
        ("Project", list(PROJECT), len(nav) + 1),
    ):
        if pages:
            nav.insert(place, {title: pages})
    return config


@event_priority(100)  # before mkdocs-jupyter, which looks for notebooks among the files
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside of docs/: notebooks, the root's pages, the ledger's report if made."""
    outside = [(f"notebooks/{path.name}", ROOT) for path in notebooks()]
    outside += [(name, ROOT) for name in PROJECT]
    outside += [(file.name, file.parent) for file in (REPORT, LEDGER) if file.is_file()]
    for name, folder in outside:
        files.append(File(name, str(folder), config.site_dir, config.use_directory_urls))
    files.append(File.generated(config, "playground.html", content=playground_page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in parts of the README, the link to the report, and the table of constants."""
    if page is not None and page.file.src_uri.startswith(BEHIND):
        page.meta.setdefault("search", {"boost": 0.3})
    if page is not None and page.file.src_uri in PROJECT:
        return within_the_site(markdown)
    markdown = re.sub(r"^<!-- README: (.+) -->$", _readme, markdown, flags=re.MULTILINE)
    if CONSTANTS in markdown:
        markdown = markdown.replace(CONSTANTS, constants_table(registered().values()))
    made = (
        "[The ledger: find a claim, each has a page of its own](theorems.html){ .md-button }\n\n"
        "[What fails](theorems.html?verdict=fails), "
        "[what fails in substance](theorems.html?severity=substance), "
        "[what is proved](theorems.html?evidence=proved), "
        "[what has cases in rigorous enclosures](theorems.html?evidence=some+enclosed)"
    )
    made += ", [all of it as JSON](theorems.json)." if LEDGER.is_file() else "."
    todo = (
        "This site was built without the ledger. `make theorems`, then `make docs`, puts it here; "
        "`gradflow report` makes it alone, as `results/theorems.html`."
    )
    return markdown.replace("<!-- report -->", made if REPORT.is_file() else todo)


def within_the_site(markdown: str) -> str:
    """A page of the root, its links as from docs/; where the site lacks the page, words stay."""
    markdown = re.sub(r"\]\(docs/", "](", markdown)
    there = {page.name for page in (ROOT / "docs").glob("*.md")} | set(PROJECT)

    def kept(found: re.Match[str]) -> str:
        target = found[2].partition("#")[0]
        on_it = not target or "://" in target or target in there or target.endswith(".ipynb")
        return found[0] if on_it else found[1]

    return re.sub(r"\[([^]]*)\]\(([^)\s]+)\)", kept, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas of notebooks, which are HTML already, and what their pictures show."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    html = described(html)
    kept = r"(<(pre|code|script|style|svg|textarea|iframe)\b.*?</\2>|<[^>]*>)"
    html = re.sub(MERMAID, "", html, flags=re.DOTALL)  # it would be fetched
    parts = re.split(kept, html, flags=re.DOTALL)
    text = range(0, len(parts), 3)  # then what is kept, then its tag's name
    for k in text:
        parts[k] = re.sub(FORMULA, mathml, parts[k])
    html = "".join(part for k, part in enumerate(parts) if k % 3 != 2 and part)
    html = re.sub(r'(href="[^":]+)\.ipynb(["#])', r"\1.html\2", html)
    return re.sub(r'href="\.\./docs/([^":]+)\.md(["#])', r'href="../\1.html\2', html)


def described(html: str) -> str:
    """Give a notebook's pictures the first sentence of the caption that follows as their text."""
    first, *rest = html.split(NO_ALT)
    for part in rest:
        caption = re.search(CAPTION, part, re.DOTALL)
        words = unescape(re.sub(r"<[^>]*>|\$", "", caption[1])) if caption else ""
        first += f'alt="{escape(" ".join(words.split()))}"{part}'
    return first


def notebooks() -> list[Path]:
    """The notebooks, in order."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def _readme(found: re.Match[str]) -> str:
    """The README's section of this title, or what is between its marks of this name."""
    text, title = (ROOT / "README.md").read_text(encoding="utf-8"), found[1]
    marked = re.search(rf"<!-- {title}: begin -->\n(.*?)\n<!-- {title}: end -->", text, re.DOTALL)
    section = re.search(rf"^#+ {title}\n(.*?)(?=^#+ [A-Z0-9]|\Z)", text, re.DOTALL | re.MULTILINE)
    part = marked or section
    if part is None:
        raise PluginError(f"README.md has no section or marks {title!r}; name another.")
    return re.sub(r"\[(?:docs/)?([^]]*?)(?:\.md)?\]\(docs/", r"[\1](", part[1].strip())
