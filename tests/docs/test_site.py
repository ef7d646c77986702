"""The site leaves nothing out: `make docs` finds what is wrong in a page, this finds what is missing."""

import re

import windlass
from tests.docs.pages import ROOT

DOCS = ROOT / "docs"


def test_the_reference_has_every_public_name_once() -> None:
    page = (DOCS / "reference/api.md").read_text()
    named = re.findall(r"^\.\. auto(?:class|data|exception|function):: (\w+)$", page, re.MULTILINE)
    assert sorted(named) == sorted(windlass.__all__)


def test_the_first_page_leads_to_every_other() -> None:
    first = (DOCS / "README.md").read_text()
    made = {DOCS / "README.md", DOCS / "index.md"}
    pages = {page for page in DOCS.rglob("*.md") if page.parent.name != "decisions"} - made
    assert [str(page) for page in sorted(pages) if f"]({page.relative_to(DOCS)})" not in first] == []
