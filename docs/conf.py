"""How the documentation site is made: ``make docs``. Decision 0019 says why with Sphinx."""  # noqa: INP001 - a script

from importlib.metadata import version as version_of

from sphinx.application import Sphinx

project = "Windlass"
author = "The Windlass developers"
version = release = version_of("windlass")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
root_doc = "index"
exclude_patterns = ["README.md"]  # index.md includes it: the forge's first page is the site's
suppress_warnings = ["toc.not_included"]  # decision records are reached through their index

# Pages are Markdown that the forge shows as well; MyST's own syntax stays within index.md and generated pages.
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

# Docstrings name things in single backticks, and say Args, Raises and Returns.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"Windlass {version}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

MADE_BY_READERS = {
    *("App", "Retry", "RetryLater", "Snooze", "Dead"),
    *("Dice", "Fault", "FaultyStore", "Harness", "ManualClock", "Outage", "Script"),
}
"""Classes whose parameters matter to who reads the reference; the others are handed out ready-made."""


def without_parameters(
    _: Sphinx, kind: str, name: str, __: object, ___: object, signature: str | None, ____: object
) -> tuple[str, str] | None:
    """Leave out how a class is made that nobody makes."""
    handed_out = kind in {"class", "exception"} and name.rpartition(".")[2] not in MADE_BY_READERS
    return ("", "") if handed_out and signature else None


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", without_parameters)
