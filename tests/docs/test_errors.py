"""The page of errors has each error once, as what it is."""

import inspect
import re
from pathlib import Path

from windlass.core import errors

PAGE = (Path(__file__).parents[2] / "docs/reference/errors.md").read_text()
CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
ROWS = re.findall(r"^\| `(\w+)`(?: \(an? `(\w+)`\))? \|", PAGE, re.MULTILINE)


def test_every_error_has_a_row() -> None:
    assert sorted(name for name, _ in ROWS) == sorted(kind.__name__ for kind in CLASSES)


def test_the_built_in_type_beside_an_error_is_right() -> None:
    also = {
        kind.__name__: next(
            (base.__name__ for base in kind.__bases__ if not issubclass(base, errors.WindlassError)), ""
        )
        for kind in CLASSES
        if kind is not errors.WindlassError
    }
    assert {name: native for name, native in ROWS if name != "WindlassError"} == also
