"""The page of one run: the record in its address, and the file of its numbers, by Node."""

import csv
import json
import re

import numpy as np
import pytest

from gradflow.plotting import explore
from tests.gradflow.plotting.node import run, source
from tests.gradflow.plotting.test_explorer import by_hand, stored
from tests.node import needs_node


def scripts(head, address=""):
    """The page's script, on a page that has nothing but its numbers and its address."""
    text = json.dumps(json.dumps(head))
    stub = f"""const document = {{ querySelector: () => ({{ textContent: {text} }}) }};
      const location = {{ hash: {json.dumps(address)} }};"""
    return [stub, source("explorer.js").partition("\nopen().catch")[0]]


@needs_node
@pytest.mark.parametrize("values", [True, False])
def test_the_file_has_every_number_of_the_page(values):
    loss = [1.0, np.nan, 0.1, 0.01, 1e-3]
    run_ = by_hand(5, loss=loss) if values else by_hand(5, loss=loss, singular_values=None)
    head, spectrum, _ = stored(explore(run_))
    given = [] if spectrum is None else np.ravel(spectrum).tolist()
    body = "return csv(given.length ? Float32Array.from(given) : null);"
    rows = list(csv.reader(run(scripts(head), body, given).splitlines()))
    assert rows[0][:3] == ["record", "time", "loss"] and len(rows) == 6
    assert [float(row[1]) for row in rows[1:]] == run_.times.tolist()
    assert [row[2] for row in rows[1:3]] == ["1", "NaN"]
    count = sum(name.startswith("sigma_") for name in rows[0])
    assert count == (2 if values else 0) and {len(row) for row in rows} == {len(rows[0])}
    if values:
        sigma = np.array([row[-2:] for row in rows[1:]], float)
        np.testing.assert_allclose(sigma, run_["singular_values"], rtol=1e-6)


@needs_node
@pytest.mark.parametrize(
    ("address", "record"),
    [("", 4), ("#record=1", 0), ("#record=3", 2), ("#record=0", 0), ("#record=99", 4),
     ("#record=-1", 4), ("#record=2x", 4)],
)  # fmt: skip
def test_the_address_names_a_record_or_the_last_is_shown(address, record):
    head, *_ = stored(explore(by_hand(5)))
    assert run(scripts(head, address), "return addressed();") == record


def test_the_page_says_its_keys():
    page = explore(by_hand(5)).html
    assert len(re.findall("<kbd>", page)) == 7 and 'id="csv"' in page
    assert 'id="png"' in page
