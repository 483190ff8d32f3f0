"""Scripts of pages, run by Node.js."""

import json
import subprocess
from importlib.resources import files

from tests.node import NODE


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
