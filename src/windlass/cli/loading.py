"""From ``module:attribute`` to an `App`, or to one line that says why not."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from windlass.app import App
from windlass.core.errors import UsageError
from windlass.core.text import printable, shorten

HOW = "expected module:attribute, such as tasks:app"


class AppNotFound(UsageError):
    """There is no app where it was said to be."""


def load_app(place: str) -> App:
    """Import the module and return the app that its attribute is. The current directory can be imported from.

    Raises `AppNotFound`, whose message is one line: no such module, no such attribute, not an app, or the module
    itself raised (``WINDLASS_TRACEBACK=1`` prints the whole traceback then).
    """
    module_name, colon, attribute = place.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        raise AppNotFound(f"app {place!r}: that is a file; {HOW}")
    if not (colon and attribute and all(part.isidentifier() for part in module_name.split("."))):
        raise AppNotFound(f"app {place!r}: {HOW}")
    found: object = _import(module_name, place)
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise AppNotFound(f"app {place!r}: {_what(found)} has no attribute {name!r}{_guess(found, name)}")
        found = getattr(found, name)
    if not isinstance(found, App):
        raise AppNotFound(f"app {place!r}: it is of type {type(found).__name__}, not an App{_guess(found, '')}")
    return found


def _import(name: str, place: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise AppNotFound(
                f"app {place!r}: there is no module {error.name!r} in {here} or on Python's path"
            ) from None
        raise _raised(name, place, error) from error
    except (Exception, SystemExit) as error:
        raise _raised(name, place, error) from error


def _raised(name: str, place: str, error: BaseException) -> AppNotFound:
    if os.environ.get("WINDLASS_TRACEBACK", "") not in ("", "0"):
        traceback.print_exception(error)
    what = shorten(printable(f"{type(error).__name__}: {error}"), 500)
    return AppNotFound(f"app {place!r}: importing {name!r} raised {what}{_where(error)}")


def _where(error: BaseException) -> str:
    """Name the line that raised."""
    if isinstance(error, SyntaxError):
        return ""  # its own message names the line
    ours = str(Path(__file__).parents[1])
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and not frame.filename.startswith(ours)
    ]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


def _what(found: object) -> str:
    return f"module {found.__name__!r}" if isinstance(found, ModuleType) else f"the {type(found).__name__}"


def _guess(found: object, name: str) -> str:
    if not isinstance(found, ModuleType):
        return ""
    apps = [key for key, value in vars(found).items() if isinstance(value, App)]
    close = difflib.get_close_matches(name, apps, n=1) or apps[:1]
    return f"; did you mean {found.__name__}:{close[0]}?" if close else "; there is no App in it"
