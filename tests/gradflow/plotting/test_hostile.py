"""The explorer's page of a trajectory that came from elsewhere: its texts stay texts."""

import re

import numpy as np
import pytest

from gradflow.plotting import explore, save_html
from tests.gradflow.plotting.runs import trajectory

EVIL = "</script><script>bad()</script>\"'><img src=x onerror=bad()>{{payload}}\\u003c"
CONFIGS = {
    "texts": {"kind": "descent", "optimizer": EVIL, "learning_rate": EVIL},
    "shapes": {"kind": "flow", "objective": {"shape": [EVIL, EVIL], "factor_shapes": [EVIL]}},
    "another clock": {"kind": EVIL},
    "no objective": {"kind": "flow", "objective": EVIL},
    "lists": {"kind": "descent", "optimizer": [EVIL], "learning_rate": [1], "objective": [1]},
    "numbers": {"kind": "descent", "optimizer": 1, "objective": {"shape": 3, "factor_shapes": 2}},
}


def scripts(html):
    """What a browser runs or keeps: the insides of all scripts, as it would part them."""
    return re.findall(r"<script\b[^>]*>(.*?)</script", html, re.DOTALL)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_text_of_a_trajectory_becomes_a_script(name):
    run = trajectory(observables={"singular_values": np.ones((3, 2))}, **CONFIGS[name])
    plain = trajectory(observables={"singular_values": np.ones((3, 2))})
    page, usual = explore(run).html, explore(plain).html
    assert len(scripts(page)) == len(scripts(usual))
    assert scripts(page)[-1] == scripts(usual)[-1]  # the only one that runs
    assert "<img" not in page and "<script>bad()" not in page


def test_a_title_stays_a_text_in_a_file(tmp_path):
    run = trajectory(observables={"singular_values": np.ones((3, 2))})
    text = save_html(run, tmp_path / "a.html", title=EVIL).read_text(encoding="utf-8")
    assert len(scripts(text)) == len(scripts(explore(run).html)) and "<img" not in text
