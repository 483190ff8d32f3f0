"""Execute the notebooks in place: all of them, or those named.

    python notebooks/execute.py [01-first-steps.ipynb ...]

A notebook is replaced only when all of its cells ran. What changes from run to run, such as times
of execution and versions, is not stored, nor is the output of cells tagged `output-not-kept`.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the kernels inherit it

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from gradflow._util.files import whole_file

FOLDER = Path(__file__).resolve().parent
NOT_KEPT = "output-not-kept"


class CellError(Exception):
    """A cell failed, or wrote a warning."""


def execute(path: Path, timeout: int) -> None:
    """Run a notebook in a fresh kernel and an empty folder, and store it with its outputs.

    Args:
      path: the notebook.
      timeout: seconds that a cell may take.

    Raises:
      CellError: if a cell raises, takes too long, kills its kernel or writes to stderr; it says
        which one.
    """
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    reached = 0

    def begin(cell: nbformat.NotebookNode, cell_index: int) -> None:
        nonlocal reached
        if cell.cell_type == "code":
            reached = code.index(cell) + 1
            if sys.stdout.isatty():
                _say(f"\r{path.name}: cell {reached} of {len(code)} ")

    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            coalesce_streams=True,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": folder}},
            on_cell_execute=begin,
        )
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise CellError(f"{path.name}, code cell {reached}: {error}") from error
    for number, cell in enumerate(code, start=1):
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise CellError(f"{path.name}, code cell {number} wrote to stderr:\n{output.text}")
    _strip(notebook)
    with whole_file(path) as temporary:
        nbformat.write(notebook, temporary)


def _strip(notebook: nbformat.NotebookNode) -> None:
    """Remove what differs between runs or machines, and outputs that are not to be kept."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code" and NOT_KEPT in tags:
            cell.outputs = []


def _say(text: str) -> None:
    print(text, end="", flush=True)


def _processor_seconds() -> float:
    """Of all kernels that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Execute what the command line names; 1 if a notebook failed, 0 otherwise."""
    known = sorted(FOLDER.glob("*.ipynb"))
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0],
        epilog="There are " + ", ".join(path.name for path in known) + ".",
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="files; all by default")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for a cell (600)")
    asked = parser.parse_args()
    failed = 0
    for path in asked.notebooks or known:
        path = path if path.is_file() else FOLDER / path.name
        if not path.is_file():
            parser.error(f"there is no notebook {path}; known are {[k.name for k in known]}.")
        began, used = time.perf_counter(), _processor_seconds()
        try:
            execute(path, asked.timeout)
        except CellError as error:
            failed += 1
            _say(f"\n{error}\n")
        else:
            wall, used = time.perf_counter() - began, _processor_seconds() - used
            _say(f"\r{path.name}: done in {wall:.0f} s, {used:.0f} s of processor time\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
