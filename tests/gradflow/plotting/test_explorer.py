"""The explorer: what its page stores, what it refuses, and how it moves in a browser."""

import base64
import gzip
import json
import re
import shutil
import time

import numpy as np
import optax
import pytest

import gradflow as gf
from gradflow.plotting import explore, explorer, save_html
from gradflow.plotting._style import COLOURS, DARK_COLOURS
from gradflow.trajectory import Outcome, Trajectory

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND")
PATIENCE = 120  # seconds that a busy machine may take to draw the page

OBJECTIVE = gf.Objective(gf.synthetic.norm_blowup(), gf.MatrixProduct((2, 2, 2)))
TRUTH = np.array([[0.0, 1.0], [1.0, 0.0]])


@pytest.fixture(scope="module", name="flow")
def _flow():
    start = gf.factorizations.identity_factors((2, 2, 2), 0.1)
    return gf.solve_flow(OBJECTIVE, start, stop_loss=1e-4, observe=explorer.OBSERVE)


def by_hand(records=4, shape=(3, 2), kind="flow", **changes):
    """A trajectory of arbitrary numbers; a change of None leaves an observable out."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=(records, *shape))
    observables = {
        "loss": np.geomspace(1.0, 1e-3, records),
        "singular_values": np.linalg.svd(w, compute_uv=False),
        "product": w,
        "alignment": rng.uniform(size=(records, 2)),
    } | changes
    return Trajectory(
        times=observables.pop("times", np.arange(records) if kind == "descent" else
                              np.concatenate([[0.0], np.geomspace(0.01, 1e4, records - 1)])),
        observables={k: v for k, v in observables.items() if v is not None},
        final={}, initial={}, outcome=Outcome.REACHED_HORIZON, stats={}, config={"kind": kind},
    )  # fmt: skip


def learning(noise, records=200, side=100):
    """Rank 5 learnt from small noise one direction after another, as flows do; and the truth."""
    rng = np.random.default_rng(1)
    u, v = rng.normal(size=(2, 5, side))
    t = np.linspace(0, 1, records)[:, None]
    s = 1 / (1 + np.exp(40 * (np.array([0.3, 0.4, 0.5, 0.6, 0.7]) - t)))
    start = 1e-3 * rng.normal(size=(side, side))
    w = np.einsum("kr,ri,rj->kij", s, u, v) + start
    w += noise * rng.uniform(-1, 1, size=w.shape)
    values = np.linalg.svd(w, compute_uv=False)
    truth = np.einsum("ri,rj->ij", u, v)
    return by_hand(records, (side, side), product=w, singular_values=values), truth


def stored(page):
    """The page's numbers, by Python's own decoders: records, singular values, matrices."""
    text = page.html
    block = lambda name: re.search(rf'id="{name}-data">([^<]*)<', text)  # noqa: E731
    head = json.loads(block("page")[1])
    raw = {n: gzip.decompress(base64.b64decode(block(n)[1])) for n in ("spectrum", "matrix")
           if block(n)}  # fmt: skip
    spectrum = matrices = None
    if "spectrum" in raw:
        spectrum = np.frombuffer(raw["spectrum"], "<f4").reshape(-1, head["spectrum"]["count"])
    if "matrix" in raw and head["matrix"]["bits"] == 32:
        matrices = np.frombuffer(raw["matrix"], "<f4").reshape(-1, *head["matrix"]["shape"])
    elif "matrix" in raw:
        codes = np.frombuffer(raw["matrix"], np.uint8).reshape(-1, *head["matrix"]["shape"])
        codes = np.cumsum(codes, axis=0, dtype=np.uint8)
        largest = np.array(head["matrix"]["largest"])[:, None, None]
        matrices = np.where(codes == 255, np.nan, (codes.astype(float) - 127) / 127 * largest)
    return head, spectrum, matrices


# What is stored


def test_small_matrices_and_singular_values_are_stored_in_single_precision(flow):
    head, spectrum, matrices = stored(explore(flow, truth=TRUTH, moments=1000))
    assert head["times"] == flow.times.tolist()
    assert head["series"]["loss"] == flow["loss"].tolist()
    assert head["series"]["on_diagonal"] == flow["alignment"][:, 0].tolist()
    np.testing.assert_allclose(matrices[:-1], flow["product"], rtol=1.2e-7)
    np.testing.assert_array_equal(matrices[-1], TRUTH)
    np.testing.assert_allclose(spectrum, flow["singular_values"], rtol=1.2e-7, atol=1.2e-38)
    gap = np.sum((flow["product"] - TRUTH) ** 2, axis=(1, 2)) / 2
    np.testing.assert_allclose(head["series"]["test_error"], gap, rtol=1e-14)


@pytest.mark.parametrize("noise", [0.0, 1e3])
def test_large_matrices_are_within_their_quantisation_and_the_page_below_5_megabytes(noise):
    run, truth = learning(noise)
    page = explore(run, truth=truth)
    assert len(page.html.encode()) < 5e6
    _, _, matrices = stored(page)
    wanted = np.append(run["product"], [truth], axis=0)
    largest = np.max(np.abs(wanted), axis=(1, 2), keepdims=True)
    error = np.abs(matrices - wanted) / largest
    assert np.max(error) <= 1 / 254 + 1e-12
    assert np.max(error) > 0.9 / 254  # or the bound says nothing


@pytest.mark.parametrize("shape", [(3, 2), (150, 110)])
def test_what_is_no_finite_number_stays_none(shape):
    w = np.random.default_rng(0).normal(size=(5, *shape))
    w[1, 0, 0], w[2, 1, 1], w[3] = np.nan, np.inf, 0.0
    loss = [1.0, np.nan, np.inf, 0.0, -1.0]
    run = by_hand(5, shape, product=w, loss=loss, singular_values=np.zeros((5, 2)))
    head, spectrum, matrices = stored(explore(run))
    assert head["series"]["loss"] == [1.0, "NaN", "Infinity", 0.0, -1.0]
    assert not np.any(spectrum)
    shown = w[:, :: head["matrix"]["steps"][0], :: head["matrix"]["steps"][1]]
    np.testing.assert_array_equal(np.isfinite(matrices), np.isfinite(shown))
    assert not np.any(matrices[3])


def test_subnormal_singular_values_are_zero_and_what_overflows_is_infinite():
    values = np.array([[1e300, 1e-20], [1.0, 1e-42], [1.0, 1e-300]])
    _, spectrum, _ = stored(explore(by_hand(3, (2, 2), singular_values=values)))
    np.testing.assert_allclose(spectrum, [[np.inf, 1e-20], [1.0, 0.0], [1.0, 0.0]], rtol=1e-7)


def test_large_problems_are_thinned_out():
    run = by_hand(3, (300, 260), singular_values=np.ones((3, 260)))
    head, spectrum, matrices = stored(explore(run))
    assert head["matrix"]["steps"] == [3, 3] and head["matrix"]["shape"] == [100, 87]
    assert head["spectrum"] == {"of": 260, "count": 100} and spectrum.shape == (3, 100)
    np.testing.assert_allclose(matrices, run["product"][:, ::3, ::3], atol=5 / 254)


def test_moments_are_taken_evenly_with_both_ends():
    head, *_ = stored(explore(by_hand(100), moments=12))
    assert head["times"] == by_hand(100).times[np.arange(12) * 9].tolist()
    assert head["subtitle"].startswith("12 of 100 records")


def test_time_zero_stands_left_of_the_others():
    head, *_ = stored(explore(by_hand(7)))
    assert head["times"][0] == 0.0
    np.testing.assert_allclose(np.diff(head["places"]), [0.48, *[1.2] * 5], rtol=1e-12)
    later = by_hand(7, times=np.geomspace(0.01, 1e4, 7))
    np.testing.assert_allclose(stored(explore(later))[0]["places"], [-2, -1, 0, 1, 2, 3, 4])


def test_truth_of_low_rank_has_no_singular_values_of_rounding():
    run, truth = learning(0.0, records=3, side=20)
    values = stored(explore(run, truth=truth))[0]["spectrum"]["truth"]
    assert np.count_nonzero(values) == 5


def test_a_descent_counts_iterations():
    start = gf.factorizations.identity_factors((2, 2, 2), 0.1)
    run = gf.run_descent(
        OBJECTIVE, start, optax.sgd, learning_rate=0.1, max_steps=50, observe=explorer.OBSERVE
    )
    head, *_ = stored(explore(run))
    assert head["clock"] == "iteration" and head["times"][-1] == 50
    assert head["title"] == "Descent by sgd, learning rate 0.1, depth 2, 2 × 2"


# What is refused or left out


def test_panels_without_data_are_left_out():
    head, spectrum, matrices = stored(explore(by_hand(singular_values=None, alignment=None)))
    assert "spectrum" not in head and "on_diagonal" not in head["series"]
    assert spectrum is None and matrices.shape == (4, 3, 2)
    tensor = by_hand(product=np.zeros((4, 2, 2, 2)))
    assert "matrix" not in stored(explore(tensor))[0]
    nothing = by_hand(singular_values=None, alignment=None, product=None)
    with pytest.raises(ValueError, match=r"recorded are loss; .*observe=gradflow\.plotting\.OBSER"):
        explore(nothing)


@pytest.mark.parametrize(
    ("run", "arguments", "message"),
    [
        (by_hand(), {"truth": np.eye(2)}, r"W's shape \(3, 2\), but its shape is \(2, 2\)"),
        (by_hand(), {"truth": np.full((3, 2), np.nan)}, r"truth\[0, 0\] is nan"),
        (by_hand(product=None), {"truth": TRUTH}, "there is no record of it"),
        (by_hand(product=np.zeros((4, 2, 2, 2))), {"truth": TRUTH}, "there is no record of it"),
        (by_hand(1, times=[0.0]), {}, "has 1 record; record at least two"),
        (by_hand(), {"moments": 0}, "moments must be a whole number"),
    ],
)
def test_misuse_is_refused(run, arguments, message):
    with pytest.raises(ValueError, match=message):
        explore(run, **arguments)


def test_the_page_is_saved_shown_in_a_frame_and_short_in_text(flow, tmp_path):
    page = explore(flow, title="a <b> & {{page}} </script>")
    path = save_html(flow, tmp_path / "a.html", title="a <b> & {{page}} </script>")
    assert path.read_text(encoding="utf-8") == page.html
    assert "<title>a &lt;b&gt; &amp; {{page}} &lt;/script&gt;</title>" in page.html
    frame = page._repr_html_()
    assert frame.startswith("<iframe srcdoc=") and "<script" not in frame
    assert re.fullmatch(r"Explorer\(\d+ moments, 2\.0 MB\)", repr(page))
    assert "://" not in page.html  # nothing to load, from anywhere
    for k, colour in enumerate((*COLOURS, *DARK_COLOURS)):
        assert f"--c{k % len(COLOURS)}: {colour};" in page.html
    with pytest.raises(FileNotFoundError, match="create it first"):
        save_html(flow, tmp_path / "none" / "a.html")


# In a browser


@pytest.fixture(scope="module", name="browser")
def _browser():
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs Chromium and its chromedriver (Debian: chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, "--window-size=1200,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


class Page:
    """A page in the browser: opened, moved by real keys, read."""

    def __init__(self, browser, path=None):
        self.browser = browser
        if path:
            browser.get(path.as_uri())
        self.wait("ready", None)

    def wait(self, name, value):
        """Until a data attribute is there, or has this value."""
        end = time.monotonic() + PATIENCE
        while True:
            found = self.run(f"return document.body.dataset.{name}")
            if found is not None and value in (None, found):
                return found
            assert time.monotonic() < end, f"{name} is {found}, not {value}; {self.log()}"
            time.sleep(0.05)

    def run(self, script):
        return self.browser.execute_script(script)

    def text(self, selector):
        return self.run(f"return document.querySelector('{selector}').textContent")

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def plot(self, selector, trace, what):
        return self.run(
            f"return Array.from(document.querySelector('{selector} .plot')"
            f".data[{trace}].{what}, x => Array.isArray(x) || ArrayBuffer.isView(x)"
            " ? Array.from(x) : x)"
        )

    def log(self):
        return self.browser.get_log("browser")


@pytest.fixture(scope="module", name="page")
def _page(browser, flow, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "a.html"
    return Page(browser, save_html(flow, path, truth=TRUTH))


def assert_shows(page, flow, index):
    page.wait("shown", str(index))
    assert page.text("#record") == f"{index + 1} of {len(flow)}"
    values = flow["singular_values"][index].astype(float)
    bars = page.plot("#now", 0, "y")
    seen = values > 1e-16 * flow["singular_values"].max()
    np.testing.assert_allclose(np.array(bars, float)[seen], values[seen], rtol=1e-6)
    assert [bar is None for bar in bars] == (~seen).tolist()
    np.testing.assert_allclose(page.plot(".pair", 0, "z"), flow["product"][index], rtol=1e-6)
    loss = float(page.text("#loss .key b").replace("×10", "e").replace("−", "-"))
    assert loss == pytest.approx(flow["loss"][index], rel=5e-3)


def test_keys_slider_and_play_move_all_panels_together(page, flow):
    from selenium.webdriver.common.keys import Keys

    last = len(flow) - 1
    assert_shows(page, flow, last)
    assert page.text("#moment").startswith("t = ")
    page.press(Keys.HOME)
    assert_shows(page, flow, 0)
    assert page.text("#moment") == "t = 0"
    page.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.PAGE_UP)
    assert_shows(page, flow, 12)
    page.run("slider.value = page.places[20] + 0.01; slider.dispatchEvent(new Event('input'))")
    assert_shows(page, flow, 20)
    # One after the other: the end would be seen before the steps back, and not after them.
    page.press(Keys.END)
    assert_shows(page, flow, last)
    page.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert_shows(page, flow, last - 2)
    page.press(" ")  # plays on to the end
    assert_shows(page, flow, last)
    assert page.run("return document.querySelector('#play').ariaLabel") == "play"
    assert page.log() == []


def test_a_click_on_a_curve_moves_there_and_the_cursor_stands_there(page, flow):
    from selenium.webdriver.common.action_chains import ActionChains

    box = page.run("const b = document.querySelector('#loss .plot').getBoundingClientRect();"
                   "return [b.left, b.top, b.width, b.height]")  # fmt: skip
    x, y = int(box[0] + box[2] / 2), int(box[1] + box[3] / 2)
    chain = ActionChains(page.browser)
    chain.w3c_actions.pointer_action.move_to_location(x, y)
    chain.w3c_actions.pointer_action.click()
    chain.perform()
    head, *_ = stored(explore(flow))
    places = np.array(head["places"])
    inner = (x - box[0] - 66) / (box[2] - 66 - 14)
    index = int(np.argmin(np.abs(places - places[0] - inner * np.ptp(places))))
    assert_shows(page, flow, index)
    cursor = page.run("return document.querySelector('#loss .cursor').getBoundingClientRect().left")
    spacing = np.max(np.diff(places)) / np.ptp(places) * box[2]
    assert abs(cursor - x) < spacing / 2 + 2
    # the dot stands on the curve, as plotly's own axis has it
    top, expected = page.run("""const plot = document.querySelector('#loss .plot');
      const axis = plot._fullLayout.yaxis, dot = plot.parentNode.querySelector('.dot');
      const box = dot.getBoundingClientRect(), outer = plot.getBoundingClientRect();
      return [box.top + box.height / 2 - outer.top,
              axis._offset + axis.d2p(Number(page.series.loss[current]))];""")
    assert top == pytest.approx(expected, abs=1.5)
    assert page.log() == []


def test_the_difference_and_the_colour_range_can_be_chosen(page, flow):
    def zmax(k):
        return page.run(f"return document.querySelectorAll('.pair .plot')[{k}].data[0].zmax")

    page.run("moveTo(0)")
    page.wait("shown", "0")
    whole = max(np.abs(flow["product"]).max(), 1.0)
    assert zmax(0) == pytest.approx(whole) and zmax(1) == pytest.approx(whole)
    page.run("document.querySelector('#range button:last-child').click()")
    assert zmax(0) == pytest.approx(np.abs(flow["product"][0]).max(), rel=1e-6)
    assert zmax(1) == pytest.approx(1.0)
    page.run("document.querySelector('#what button:last-child').click()")
    difference = flow["product"][0] - TRUTH
    np.testing.assert_allclose(page.plot(".pair", 0, "z"), difference, atol=1e-7)
    assert page.text("figcaption").startswith("W − truth")
    page.run("for (const b of document.querySelectorAll('.choice button:first-child')) b.click()")
    np.testing.assert_allclose(page.plot(".pair", 0, "z"), flow["product"][0], rtol=1e-6)
    assert page.log() == []


def test_a_large_page_opens_and_decodes_in_the_browser(browser, tmp_path, record_property):
    run, truth = learning(1e3)
    page = Page(browser, save_html(run, tmp_path / "large.html", truth=truth))
    record_property("milliseconds to the drawn page", int(page.wait("ready", None)))
    page.run("moveTo(100)")
    page.wait("shown", "100")
    wanted = run["product"][100]
    shown = np.array(page.plot(".pair", 0, "z"))
    assert np.max(np.abs(shown - wanted)) <= np.abs(wanted).max() / 254 * (1 + 1e-9)
    requests = page.run("return performance.getEntriesByType('resource').map(x => x.name)")
    assert requests == [] and page.log() == []


def test_a_notebook_shows_pages_of_all_sorts_in_frames(browser, tmp_path):
    runs = [
        by_hand(4, kind="descent", singular_values=None, product=None),
        by_hand(4, alignment=None, product=None),
        by_hand(5, (1, 1), loss=[1.0, np.nan, 0.0, -1.0, np.inf], singular_values=np.zeros((5, 1))),
        by_hand(2, (3, 150), times=[0.0, 5.0]),
    ]
    path = tmp_path / "notebook.html"
    path.write_text("".join(explore(run)._repr_html_() for run in runs), encoding="utf-8")
    browser.get(path.as_uri())
    for k, panels in enumerate([2, 3, 5, 5]):
        browser.switch_to.frame(k)
        page = Page(browser)
        assert page.run("return document.querySelectorAll('.panel').length") == panels
        page.run("slider.focus()")  # comes into view: what is out of sight does not move
        page.run("moveTo(0)")
        page.wait("shown", "0")
        browser.switch_to.default_content()
    assert page.log() == []
