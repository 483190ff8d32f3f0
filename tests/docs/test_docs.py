"""The documentation: nothing public is left out, no link leads nowhere, its examples run."""

import importlib.util
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import diffrax
import matplotlib.pyplot as plt
import pytest
import yaml

import gradflow as gf
from tests.test_names import listed

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "gallery")
MADE = {
    DOCS / name
    for name in ("gallery/index.md", "gallery/explorer.html", "theorems.html", "playground.html")
}
EXAMPLES = {
    page.stem: re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for page in PAGES
}
ELSEWHERE = re.findall(r"```py\n(.*?)```", (DOCS / "accelerators.md").read_text("utf-8"), re.DOTALL)
"""Examples for many devices, or for a cluster."""
WITH_OUTPUT = {"coming-from"}
"""Pages whose examples are run with what they print, in tests of their own."""
REFERENCE = {
    name
    for page in (DOCS / "api").glob("*.md")
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
}


def script(name):
    """A module of docs/."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", gf.__all__)
def test_every_public_name_is_on_a_reference_page(name):
    room = (
        name if inspect.ismodule(getattr(gf, name)) else gf._WHERE[name].removeprefix("gradflow.")
    )
    listed = {page.removeprefix("gradflow.").partition(".")[0] for page in REFERENCE}
    assert room in listed, f"no page in docs/api has ::: gradflow.{room}, where {name} is"


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_reference_pages_name_modules(name):
    assert importlib.util.find_spec(name) is not None


def classes():
    """Those of the library, by name."""
    found = {}
    for one in pkgutil.walk_packages(gf.__path__, "gradflow."):
        if one.name != "gradflow.__main__":
            module = importlib.import_module(one.name)
            own = inspect.getmembers(module, inspect.isclass)
            found |= {name: kind for name, kind in own if kind.__module__ == module.__name__}
    return found


def signatures(name, value):
    """What a function, or each public part of a class, takes and gives, as text."""
    parts = {} if inspect.isclass(value) and issubclass(value, Exception) else {name: value}
    if inspect.isclass(value) and not issubclass(value, diffrax.AbstractSolver):  # of diffrax
        inner = {k: part for k, part in vars(value).items() if not k.startswith("_")}
        parts |= {f"{name}.{k}": part for k, part in inner.items()}
    for part, thing in parts.items():
        thing = getattr(thing, "fget", None) or getattr(thing, "__func__", thing)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            yield part, f"{inspect.signature(thing)}"


def not_listed(given, kinds):
    """Classes of the library in public signatures that the reference does not have."""
    return {
        f"{part}: {word}"
        for name, value in given.items()
        if inspect.isfunction(value) or inspect.isclass(value)
        for part, text in signatures(name, value)
        for word in re.findall(r"[A-Z]\w+", text)
        if word in kinds and word not in given
    }


def test_what_signatures_name_is_on_a_reference_page():
    rooms = [importlib.import_module(name) for name in REFERENCE]
    given = {name: getattr(room, name) for room in rooms for name in listed(room)}
    kinds = {name: kind for name, kind in classes().items() if not name.startswith("_")}
    assert not_listed(given, kinds) == set()
    assert not_listed({k: v for k, v in given.items() if k != "StiffPart"}, kinds) == {
        "AbstractCoordinates.stiff_part: StiffPart", "LogPolarCoordinates.stiff_part: StiffPart",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(REFERENCE))
def test_no_module_has_the_name_of_what_its_package_gives_out(name):
    """The reference would have the module in its place, and the links to it lead nowhere."""
    module = importlib.import_module(name)
    inside = {part.name for part in pkgutil.iter_modules(getattr(module, "__path__", []))}
    hidden = inside & set(getattr(module, "__all__", []))
    assert not {one for one in hidden if not inspect.ismodule(getattr(module, one))}


def nav_pages(entry):
    if isinstance(entry, str):
        yield entry
    for part in (
        entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
    ):
        yield from nav_pages(part)


def test_the_navigation_has_every_page_and_no_other():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = {DOCS / page for page in nav_pages(nav)}
    results = set(DOCS.glob("*20[0-9][0-9]*.md"))  # docs/hooks.py adds these
    assert listed - MADE == set(PAGES) - results


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text):
        target = (page.parent / link).resolve()
        assert "://" in link or target in MADE or target.is_file(), link
        assert "://" in link or target.is_relative_to(DOCS), f"{link} is not on the site"
    for name in re.findall(r"\]\[([\w.]+)\]", text):
        module, _, attribute = name.rpartition(".")
        assert module in REFERENCE and hasattr(importlib.import_module(module), attribute), name


def test_parts_of_the_readme_are_there():
    hooks = pytest.importorskip("mkdocs") and script("hooks")
    asked = [
        found
        for page in PAGES
        for found in re.finditer(r"^<!-- README: (.+) -->$", page.read_text("utf-8"), re.MULTILINE)
    ]
    assert asked
    for found in asked:
        assert len(hooks._readme(found)) > 100


@pytest.mark.parametrize("page", [name for name, code in EXAMPLES.items() if code])
def test_examples_are_python(page):
    for source in EXAMPLES[page]:
        compile(source, f"{page}.md", "exec")


def test_examples_for_other_machines_are_python():
    assert len(ELSEWHERE) == 4
    for source in ELSEWHERE:
        compile(source, "accelerators.md", "exec")


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["mean", "half_sum"])
def test_the_mesh_is_run_on_eight_devices_of_a_cpu(loss):
    """At a hundredth of the size; with another loss it would diverge, as the page once did."""
    source = ELSEWHERE[0].replace("mean", loss)
    for large, small in (("8000, 8000", "80, 80"), ("800_000", "1_000"), ("=1000", "=20")):
        assert source.count(large) == 1
        source = source.replace(large, small)
    flags = "--xla_force_host_platform_device_count=8"
    run = subprocess.run(
        [sys.executable, "-c", f"{source}print(run['loss'][-1] < run['loss'][0])"],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_ENABLE_X64": "0"},
        check=True, capture_output=True, cwd=ROOT, text=True,
    )  # fmt: skip
    assert run.stdout.strip() == str(loss == "mean")


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [name for name, code in EXAMPLES.items() if code and name not in WITH_OUTPUT]
)
def test_examples_run(page, tmp_path, monkeypatch):
    """A page's examples build on each other."""
    monkeypatch.chdir(tmp_path)
    scope = {}
    for source in EXAMPLES[page]:
        exec(compile(source, f"{page}.md", "exec"), scope)


@pytest.mark.slow
def test_what_trust_prints_is_on_its_page(capsys):
    """But for the numbers, which end in round-off."""
    (shown,) = re.findall(r"```text\n(.*?)```", (DOCS / "trust.md").read_text("utf-8"), re.DOTALL)
    (source,) = EXAMPLES["trust"]
    exec(compile(source, "trust.md", "exec"), {})
    words, found = (re.sub(r"[ \d.e+-]+", " ", one) for one in (shown, capsys.readouterr().out))
    assert found == words


def test_the_ledgers_page_says_of_every_constant_which_is_the_best():
    hooks = pytest.importorskip("mkdocs") and script("hooks")
    text = (DOCS / "ledger.md").read_text()
    assert text.count(hooks.CONSTANTS) == 1
    made = hooks.on_page_markdown(text, None, None, None)
    assert hooks.CONSTANTS not in made
    assert made.count("\n| `") > 60 and "| `razin2020.lem9` | $2$ |" in made


def test_formulas_become_mathml_and_code_stays():
    markdown = pytest.importorskip("markdown")
    pytest.importorskip("mkdocs")
    hooks = script("hooks")

    def html(text):
        return markdown.markdown(text, extensions=[hooks.Formulas()])

    assert re.search(r"<math[^>]*inline.*<msub>.*&#x003C3;", html(r"values $\sigma_1$"), re.DOTALL)
    assert 'display="block"' in html("$$\na_i * b_i * c_i\n$$") and "<em>" not in html("$a*b*c$")
    for plain in ("`$x$`", "costs $5 and $6", r"\$x\$", "a $ b $ c"):
        assert "<math" not in html(plain)


def test_formulas_and_links_of_notebooks():
    pytest.importorskip("mkdocs")
    hooks = script("hooks")

    class Page:
        class file:
            src_uri = "notebooks/01-a.ipynb"

    html = '<p>$a &lt; b$ <a href="02-b.ipynb#c">b</a> <a href="../docs/flows.md">c</a></p>'
    code = '<pre class="x">print("$y$", "z.ipynb")</pre><script type="module">mermaid</script>'
    found = hooks.on_page_content(html + code, Page, None, None)
    assert found.count("<math") == 1 and "<mo>&#x0003C;</mo>" in found
    assert 'href="02-b.html#c"' in found and 'href="../flows.html"' in found
    assert '<pre class="x">print("$y$", "z.ipynb")</pre>' in found and "mermaid" not in found


def test_pages_of_the_root_keep_the_links_that_the_site_has():
    pytest.importorskip("mkdocs")
    hooks = script("hooks")
    links = "[a](docs/flows.md#x) [b](notebooks/01-first-steps.ipynb) [c](https://example.org)"
    told = f"{links} [`d`](benchmarks/README.md#e) [f](CHANGELOG.md)"
    found = hooks.within_the_site(told)
    assert found == links.replace("docs/", "") + " `d` [f](CHANGELOG.md)"
    for name in hooks.PROJECT:
        text = hooks.within_the_site((ROOT / name).read_text(encoding="utf-8"))
        for link in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text):
            home = ROOT if link.endswith(".ipynb") or link in hooks.PROJECT else DOCS
            assert "://" in link or (home / link).is_file(), (name, link)


def test_pictures_of_notebooks_say_what_they_show():
    pytest.importorskip("mkdocs")
    hooks = script("hooks")
    picture = f'<img {hooks.NO_ALT} src="data:x">'
    first = "<p><em>Figure 1. Values of <b>W</b>\nover $t < 1.5$. Ours.</em></p>"
    html = picture + first + picture + "<p><em>Figure 2. Norms.</em></p>" + picture
    found = re.findall('alt="([^"]*)"', hooks.described(html))
    assert found == ["Figure 1. Values of W over t &lt; 1.5.", "Figure 2. Norms.", ""]
    assert hooks.described("<p>no picture</p>") == "<p>no picture</p>"


def test_docstrings_are_not_read_as_markdown():
    pytest.importorskip("griffe")
    plain = script("docstrings").plain
    assert plain("||W||_* and <P, W> `a*b`") == r"||W||\_\* and &lt;P, W> `a*b`"
    kept = "Text.\n\n    a * b_* <x>\n\nExample:\n  >>> 2 * 3\n  <Six * 1>\n\n"
    assert plain(kept + "a * b") == kept + r"a \* b"
    assert plain("learning_rate: a rate") == "learning_rate: a rate"


GOOD = '<a href="b.html#here">b</a><img src="a.png"><math xmlns="http://www.w3.org/1998"></math>'


@pytest.mark.parametrize(
    ("html", "wrong"),
    [
        (GOOD, None),
        ('<a href="https://example.org">out</a>', None),
        ('<a href="c.html">c</a>', "c.html, which does not exist"),
        ('<a href="b.html#there">b</a>', "no such anchor"),
        ('<script src="https://example.org/a.js"></script>', "fetches https://example.org/a.js"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "fetches //example.org/a.css"),
        ('<script>await import("https://example.org/a.mjs")</script>', "has a script with import"),
    ],
)
def test_the_site_is_checked(html, wrong, tmp_path):
    (tmp_path / "a.html").write_text(html)
    (tmp_path / "b.html").write_text('<h1 id="here">b</h1>')
    (tmp_path / "a.png").write_bytes(b"")
    found = script("check_site").problems(tmp_path)
    assert len(found) == (wrong is not None) and all(wrong in line for line in found)
    (tmp_path / "a.css").write_text("@import url(https://example.org/font.css)")
    assert len(script("check_site").problems(tmp_path)) == len(found) + 1


def test_a_site_without_pages_is_refused(tmp_path):
    with pytest.raises(ValueError, match="make docs"):
        script("check_site").problems(tmp_path)


@pytest.mark.slow
def test_what_the_gallery_shows_can_be_pasted(tmp_path):
    """Into a Python that nothing was set for: no float64, no names."""
    gallery = script("make_gallery")
    pasted = [gallery.snippet(*one) for one in gallery.pictures().items()]
    plain = {key: value for key, value in os.environ.items() if not key.startswith("JAX_ENABLE")}
    for source in pasted:
        subprocess.run(
            [sys.executable, "-c", source], env=plain, cwd=tmp_path, check=True, capture_output=True
        )


def test_a_gallery_entry_is_the_docstrings_example(tmp_path):
    gallery = script("make_gallery")
    plt.figure()  # somebody else's, which is no picture of the example
    assert len(gallery.pictures()) == 9
    name = "gradflow.plotting.plot_loss"
    code, files = gallery.run(name, gf.plotting.plot_loss, tmp_path)
    assert files == ["plot_loss.png"] and (tmp_path / files[0]).stat().st_size > 5_000
    assert "plot_loss(flow)" in code and ">>>" not in code
    entry = gallery.entry(name, gf.plotting.plot_loss, code, files)
    assert f"[`plot_loss(runs, ax, xscale)`][{name}]" in entry and "(plot_loss.png)" in entry


def test_a_function_without_an_example_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no example"):
        script("make_gallery").run("gradflow.nothing", lambda ax: ax, tmp_path)


@pytest.mark.slow
def test_the_site_builds_and_needs_no_network(tmp_path):
    pytest.importorskip("mkdocs")
    subprocess.run([sys.executable, "docs/make_gallery.py"], cwd=ROOT, check=True)
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True)
    assert script("check_site").problems(tmp_path) == []
    assert "<math" in (tmp_path / "index.html").read_text(encoding="utf-8")
    explorer = (tmp_path / "gallery" / "explorer.html").read_text(encoding="utf-8")
    assert '"family": [[2.0, 0.1]' in explorer
