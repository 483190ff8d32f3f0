"""The page's script, run by Node: what is found, what the address keeps, what is shown."""

import json
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gradflow.claims.registry import registered
from gradflow.claims.report import page
from tests.gradflow.claims.report.test_page import ROW
from tests.node import NODE, needs_node

HERE = Path(__file__).parent
SOURCE = Path(page.__file__).with_name("page.js").read_text(encoding="utf-8")


class Elements(HTMLParser):
    """A page's elements with their texts, as plain values."""

    EMPTY = frozenset(("meta", "input", "img", "br"))

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        own = {name: value or "" for name, value in attrs}
        data = {name[5:]: value for name, value in own.items() if name.startswith("data-")}
        classes = own.get("class", "").split()
        one = {"tag": tag, "id": own.get("id", ""), "classes": classes, "data": data, "text": ""}
        self.found.append(one)
        if tag not in self.EMPTY:
            self.open.append(one)

    def handle_endtag(self, tag):
        if self.open and self.open[-1]["tag"] == tag:
            self.open.pop()

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_data(self, data):
        for one in self.open:
            one["text"] += data


def ran(elements, steps=(), address=""):
    """What is to be seen after some steps of a reader."""
    given = json.dumps(
        {"elements": elements, "source": SOURCE, "steps": list(steps), "address": address}
    )
    done = subprocess.run(
        [NODE, str(HERE / "dom.js")], input=given, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def elements(tmp_path_factory):
    """The page of all claims of the papers, with the verdict that each declares."""
    rows = [
        {
            **ROW, "id": made.id, "where": made.where, "statement": made.statement,
            "verdict": "fails" if made.severity else "holds", "severity": made.severity,
            "flaw": made.flaw, "survives": made.survives, "grade": "proved",
            "corrects": made.corrects, "corrected": made.corrected,
        }
        for made in registered().values()
    ]  # fmt: skip
    path = tmp_path_factory.mktemp("page") / "page.html"
    page.write_page(rows, path, {})
    found = Elements(path.read_text(encoding="utf-8")).found
    return [one for one in found if one["id"] or one["data"] or one["tag"] in ("form", "pre")]


@needs_node
@pytest.mark.parametrize(
    ("words", "wanted", "unwanted"),
    [
        ("effective rank", ["razin2020.thm1.erank", "wang2024.entropy_step"], ["arora2019.lem1"]),
        ("Lemma 5", ["wang2024.lem5", "wang2024.lem5.corrected"], ["razin2020.lem25"]),
        ("Equation (8)", ["arora2019.lem2.eq8", "razin2020.thm1.norm", "zhao2022.thm2.W"],
         ["razin2020.eq39"]),
        ("eq. 16", ["arora2019.eq16", "razin2020.thm2.erank", "wang2024.lem4"], []),
        ("nuclear", ["zhao2022.eq12", "arora2019.thm1"],
         ["razin2020.lem6", "razin2020.lem9.sharp"]),  # whose p_* is no norm
        ("rank effective", ["razin2020.thm1.erank"], []),
        ("singular values", ["arora2019.thm3", "zhao2022.thm2.sv"], []),
        ("zhao2022.eq12", ["zhao2022.eq12", "zhao2022.eq12.corrected"], ["zhao2022.eq15"]),
        ("misprint", ["arora2019.eq17", "razin2020.eq51"], ["zhao2022.thm1.psd"]),
    ],
)  # fmt: skip
def test_words_find_what_a_reader_expects(elements, words, wanted, unwanted):
    seen = ran(elements, [("set", "words", words)])
    assert set(wanted) <= set(seen["lines"]) and not set(unwanted) & set(seen["lines"])
    again = ran(elements, address=seen["address"])  # a reload
    assert (again["lines"], again["count"]) == (seen["lines"], seen["count"])


@needs_node
def test_what_only_mentions_the_words_comes_on_demand(elements):
    first = ran(elements, [("set", "words", "Lemma 5")])
    assert "wang2024.thm1.norm" not in first["lines"] and "more that mention" in first["more"]
    more = ran(elements, [("set", "words", "Lemma 5"), ("click", "more")])
    assert "wang2024.thm1.norm" in more["lines"] and set(first["lines"]) < set(more["lines"])
    assert ran(elements, address=more["address"])["lines"] == more["lines"]


@needs_node
def test_filters_join_and_survive_a_reload(elements):
    steps = [("set", "paper", "zhao2022"), ("set", "verdict", "fails"),
             ("set", "severity", "constant")]  # fmt: skip
    seen = ran(elements, steps)
    assert seen["lines"] == ["zhao2022.eq12", "zhao2022.thm2.W"] and seen["count"] == "2 claims"
    assert seen["address"] == "?paper=zhao2022&verdict=fails&severity=constant"
    assert ran(elements, address=seen["address"])["lines"] == seen["lines"]
    assert ran(elements, [*steps, ("set", "severity", "")])["count"] == "17 claims"


@needs_node
def test_a_claim_has_its_own_address_and_title(elements):
    seen = ran(elements, address="?paper=zhao2022#zhao2022.eq12")
    assert seen["claims"] == ["zhao2022.eq12"] and not seen["index"]
    assert seen["title"] == "zhao2022.eq12: fails: constant"
    back = ran(elements, [("go", "")], address="?paper=zhao2022#zhao2022.eq12")
    assert back["index"] and back["claims"] == [] and back["address"] == "?paper=zhao2022"
    assert back["title"] == "Theorems against simulation" and back["count"] == "39 claims"
    assert ran(elements, address="#no.such")["index"]
