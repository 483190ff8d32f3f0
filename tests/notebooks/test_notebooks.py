"""The notebooks: their code runs at a small size, and what is stored is whole, clean and thin."""

import ast
import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
SMALL = {
    "01-first-steps": {
        "size": 12,
        "rank": 1,
        "observations": 90,
        "depth": 2,
        "steps": (100, 200),
    },
    "02-depth-and-singular-values": {
        "horizon": 5.0,
        "depths": (3,),
        "start_scales": (1e-1, 1e-2),
        "size": 10,
        "rank": 1,
        "observations": 60,
        "completion_depths": (2,),
    },
    "03-norms-and-ranks": {"depths": (3,), "stop_loss": 1e-2, "descent_steps": 500},
    "04-what-adam-changes": {
        "size": 4,
        "rank": 1,
        "observations": 12,
        "steps": 60,
        "depths": (2,),
        "large_size": 8,
        "large_rank": 1,
        "large_observations": 40,
        "large_steps": 50,
    },
    "05-your-own-claim": {
        "starts": 2,
        "draws": 12,
        "identity_depths": (2,),
        "flow_depths": (2,),
    },
    "06-real-ratings": {"users": 40, "items": 60, "depths": (2,), "rates": (1e-4,), "steps": (10,)},
    "07-tensors": {"size": 3, "rank": 1, "components": 6, "observations": (12, 20), "orders": (3,)},
    "08-saddle-to-saddle": {"steps": (-4,), "scales": (-1.0, -2.0), "trials": 60},
    "09-lazy-and-rich": {"powers": (1, -1), "balances": (0.0, 10.0), "scales": (1e-1,)},
    "10-what-muon-prefers": {"steps": 300},
    "11-choosing-a-start": {"trials": 3, "rounds": 2},
}
LINES, DEFINITION = 40, 25
"""Most lines of a code cell, and of a function in one."""
CLAIMS = "05-your-own-claim"
"""Where functions are the subject: a claim is one."""

names = pytest.mark.parametrize("name", SMALL)


@cache
def cells(name):
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [{**cell, "source": "".join(cell["source"])} for cell in notebook["cells"]]


def code_of(name):
    return [cell for cell in cells(name) if cell["cell_type"] == "code"]


def tags(cell):
    return cell["metadata"].get("tags", [])


def assigned(source):
    """The names that plain statements such as `a, b = 1, 2` assign."""
    targets = [target for node in ast.parse(source).body for target in node.targets]
    leaves = [leaf for target in targets for leaf in ast.walk(target)]
    return {leaf.id for leaf in leaves if isinstance(leaf, ast.Name)}


def kept_outputs(name):
    return [output for cell in code_of(name) for output in cell["outputs"]]


def test_all_notebooks_are_here_and_numbered():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == list(SMALL)


@names
def test_the_code_runs_at_a_small_size(name, tmp_path, monkeypatch):
    if name == "06-real-ratings" and find_spec("neighbors") is None:
        pytest.skip("the ratings are not installed")
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    space = {"__name__": "notebook"}
    for number, cell in enumerate(code_of(name), start=1):
        code = compile(cell["source"], f"{name}, code cell {number}", "exec")
        exec(code, space)
        if "parameters" in tags(cell):
            space.update(SMALL[name])
    drawn = [plt.figure(number) for number in plt.get_fignums()]
    stored = [output for output in kept_outputs(name) if "image/png" in output.get("data", {})]
    assert len(drawn) == len(stored) > 0
    assert all(ax.get_xlabel() or not ax.get_subplotspec().is_last_row()
               for figure in drawn for ax in figure.axes if ax.get_subplotspec())  # fmt: skip
    plt.close("all")


@names
def test_the_parameters_come_first_and_are_those_that_the_test_changes(name):
    first = code_of(name)[0]
    assert tags(first) == ["parameters"]
    assert set(SMALL[name]) <= assigned(first["source"])


@names
def test_stored_outputs_are_whole_and_clean(name):
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 1_000_000
    code = code_of(name)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        if "output-not-kept" in tags(cell):
            assert not cell["outputs"]
        elif "print(" in cell["source"] or "plt.show()" in cell["source"]:
            assert cell["outputs"], cell["source"]
    for output in kept_outputs(name):
        assert output["output_type"] in ("stream", "display_data", "execute_result")
        assert output.get("name", "stdout") == "stdout"
        assert not re.search(r"Warning|Traceback|/(home|root|tmp)/|\bnan\b", text(output))


def text(output):
    return "".join(output.get("text", output.get("data", {}).get("text/plain", "")))


@names
def test_cells_are_thin(name):
    for cell in code_of(name):
        assert cell["source"].count("\n") < LINES, cell["source"]
        for node in ast.walk(ast.parse(cell["source"])):
            assert not isinstance(node, ast.ClassDef | ast.While)
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1
                assert lines <= (DEFINITION if name == CLAIMS else 5), node.name


@names
def test_each_figure_is_followed_by_a_caption_that_names_its_origin(name):
    every, number = cells(name), 0
    for cell, after in zip(every, every[1:], strict=False):
        if cell["cell_type"] == "code" and "plt.show()" in cell["source"]:
            number += 1
            caption = after["source"].split("\n\n")[0]
            assert caption.startswith(f"*Figure {number}. ") and caption.endswith("*")
            assert re.search(r"arora2019|razin2020|zhao2022|wang2024|[Oo]ur", caption)
    assert number > 0


@names
def test_each_begins_with_a_title_and_ends_with_what_to_try_next(name):
    every = cells(name)
    assert every[0]["source"].startswith("# ")
    assert "## What to try next" in every[-1]["source"]
    for target in re.findall(r"\]\(([^)#]+\.ipynb)\)", "".join(c["source"] for c in every)):
        assert (FOLDER / target).is_file()


def test_stored_verdicts_of_ones_own_claims():
    printed = "".join(text(output) for output in kept_outputs(CLAIMS))
    assert re.search(r"mine\.never_falls\s+fails\s+fails", printed)
    assert re.search(r"mine\.weight_identity\s+holds\s+fails", printed)
    assert re.search(r"mine\.one_measurement\s+holds\s+fails", printed)
