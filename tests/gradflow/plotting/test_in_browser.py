"""The pages at the widths of a phone and a desk, in a browser where there is one."""

import time

import pytest

from gradflow.plotting import save_html, save_playground
from gradflow.plotting._style import DARK_COLOURS
from tests.gradflow.plotting.test_explorer import PATIENCE, Page, _browser, by_hand

assert _browser  # a fixture


def until(page, script):
    end = time.monotonic() + PATIENCE
    while not (found := page.run(f"return {script}")):
        assert time.monotonic() < end, (script, page.log())
        time.sleep(0.05)
    return found


@pytest.fixture(name="narrow", params=[390, 1280])
def _narrow(browser, request):
    size = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield request.param
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def assert_fits(page):
    assert page.run("return document.documentElement.scrollWidth <= innerWidth")
    assert page.log() == []


def test_the_playground_runs_to_its_end_and_tells_it(browser, narrow, tmp_path):
    browser.get(save_playground(tmp_path / "a.html").as_uri() + "#depth=3&speed=4")
    page = Page.__new__(Page)
    page.browser = browser
    page.run("if (!playing) play()")
    until(page, "document.getElementById('status').textContent.includes('for ever')")
    assert page.run("return document.querySelectorAll('svg.chart').length") == 4
    assert page.run("return location.hash").startswith("#depth=3&w=")
    assert_fits(page)


def test_the_page_of_one_run_fits_and_is_dark_where_the_reader_is(browser, narrow, tmp_path):
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [dark]})
    page = Page(browser, save_html(by_hand(5), tmp_path / "c.html", truth=[[0, 1], [1, 0], [1, 1]]))
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert page.plot("#now", 0, "marker.color")[:2] == list(DARK_COLOURS[:2])
    assert_fits(page)


def test_the_page_of_one_run_keeps_its_record_in_the_address(browser, narrow, tmp_path):
    from selenium.webdriver.common.keys import Keys

    path = save_html(by_hand(5), tmp_path / "d.html")
    page = Page(browser, path)
    page.press(Keys.HOME, Keys.ARROW_RIGHT)
    until(page, "location.hash === '#record=2'")
    browser.get("about:blank")
    browser.get(path.as_uri() + "#record=3")
    again = Page(browser)
    assert again.run("return document.getElementById('record').textContent") == "3 of 5"
    assert_fits(again)


SHOWN = ["h1", "body > header p", "#moment", "#spectrum .key li:last-child", ".cursor", ".dot",
         *[f"{panel} .plot" for panel in ("#spectrum", "#now", "#loss", "#alignment", "#matrices")],
         "figcaption", ".scale div"]  # fmt: skip
INK = """const [selectors, done] = arguments;
  picture().then(canvas => {
    const { width, height } = canvas, shift = document.body.getBoundingClientRect();
    const pixels = new Uint32Array(
      canvas.getContext("2d").getImageData(0, 0, width, height).data.buffer);
    const shades = selectors.map(selector => {
      const box = document.querySelector(selector).getBoundingClientRect(), found = new Set();
      const left = Math.floor(2 * (box.left - shift.left)), right = left + 2 * box.width;
      const top = Math.floor(2 * (box.top - shift.top)), bottom = top + 2 * box.height;
      for (let y = top; y < bottom; y++)
        for (let x = left; x < right; x++) found.add(pixels[y * width + x]);
      return found.size;
    });
    done([width / shift.width, pixels.every(pixel => pixel >>> 24 === 255), shades]);
  }, error => done(String(error)));"""
"""The picture's scale, whether it is opaque, and how many shades it has where each of these is."""


def test_the_picture_of_one_run_is_the_page_without_its_controls(browser, narrow, tmp_path):
    page = Page(browser, save_html(by_hand(5), tmp_path / "e.html"))
    scale, opaque, shades = page.browser.execute_async_script(INK, [*SHOWN, "#play"])
    assert scale == pytest.approx(2, abs=0.01) and opaque
    assert [name for name, n in zip(SHOWN, shades, strict=False) if n < 2] == []
    assert shades[-1] == 1  # bare paper
    assert_fits(page)


def test_the_page_of_several_runs_moves_with_keys(browser, narrow, tmp_path):
    from selenium.webdriver.common.keys import Keys

    runs = {"a": by_hand(5), "b <i>": by_hand(6)}
    page = Page(browser, save_html(runs, tmp_path / "b.html"))
    page.press(Keys.HOME, Keys.ARROW_RIGHT)
    until(page, "document.body.dataset.at === '0.01'")
    assert page.run("return document.getElementById('moment').textContent") == "t = 0.0100"
    assert page.run("return document.getElementById('table-1-record').textContent") == "1"
    assert page.run("return document.querySelectorAll('canvas').length") == 2
    assert_fits(page)
