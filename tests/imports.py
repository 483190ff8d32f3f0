"""What the modules of a folder import, read off their source."""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Import(NamedTuple):
    """One imported name.

    Attributes:
      importer: the module that imports.
      target: the module that is imported, or the one that a name is imported from.
      name: the name that stands for it, if it is given another one.
      typing: whether it is there for annotations only.
      relative: whether it is written with dots.
      line: where it is written.
    """

    importer: str
    target: str
    name: str | None
    typing: bool
    relative: bool
    line: int


def modules(folder: str) -> dict[str, Path]:
    """The modules below a folder of the repository, by name."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(folder: str) -> list[Import]:
    """All imports of a folder's modules, those inside functions too."""
    ours = modules(folder)
    found: list[Import] = []
    for importer, path in ours.items():
        package = importer if path.stem == "__init__" else importer.rpartition(".")[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node, typing in _walk(tree, False):
            if isinstance(node, ast.Import):
                found += [
                    Import(importer, one.name, one.asname, typing, False, node.lineno)
                    for one in node.names
                ]
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    up = package.split(".")[: len(package.split(".")) - node.level + 1]
                    base = ".".join([*up, *filter(None, [node.module])])
                for one in node.names:
                    inner = f"{base}.{one.name}"
                    target = inner if inner in ours else base
                    found.append(
                        Import(importer, target, one.asname, typing, node.level > 0, node.lineno)
                    )
    return found


def _walk(node: ast.AST, typing: bool):
    """All nodes, each with whether it is seen by type checkers alone."""
    yield node, typing
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for child in node.body:
            yield from _walk(child, True)
        for child in node.orelse:
            yield from _walk(child, typing)
        return
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, typing)


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """The nodes along a closed path; none if there is no such path."""
    done: set[str] = set()

    def follow(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for other in sorted(arrows.get(node, ())):
            if found := follow(other, [*path, node]):
                return found
        done.add(node)
        return []

    for node in sorted(arrows):
        if found := follow(node, []):
            return found
    return []
