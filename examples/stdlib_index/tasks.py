"""The tasks of the demo: read one source file and measure it.

Run as a worker: ``windlass worker --app tasks:app`` in this folder, with ``WINDLASS_URL`` set.
"""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from dataclasses import dataclass
from pathlib import Path

from windlass import App

app = App(lease=5)  # seconds; the default is 9, and the demo need not wait so long for what the killed worker held


@dataclass
class FileIndex:
    """What one file holds. A file that Python cannot read says why in ``problem``."""

    path: str
    size: int
    sha256: str
    lines: int = 0
    tokens: int = 0
    functions: int = 0
    longest_function: str = ""
    longest_lines: int = 0
    problem: str = ""


@app.task
def index_file(root: str, path: str) -> FileIndex:
    """Measure the file ``path`` under ``root``: lines, tokens, functions, the longest function, and a hash."""
    data = (Path(root) / path).read_bytes()
    index = FileIndex(path, len(data), hashlib.sha256(data).hexdigest(), lines=data.count(b"\n"))
    try:
        index.tokens = sum(1 for _ in tokenize.tokenize(io.BytesIO(data).readline))
        measure_functions(index, ast.parse(data))
    except (SyntaxError, tokenize.TokenError, ValueError, RecursionError) as error:
        # The standard library has files that are wrong on purpose: test data for its own parser.
        index.problem = f"{type(error).__name__}: {error}"[:200]
    return index


def measure_functions(index: FileIndex, tree: ast.Module) -> None:
    """Count the functions of a module, methods and nested ones included, and find the longest."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            index.functions += 1
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > index.longest_lines:
                index.longest_function, index.longest_lines = node.name, length
