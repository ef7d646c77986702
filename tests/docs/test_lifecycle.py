"""The state diagram in the documentation says what the one table in the code says."""

import re
from pathlib import Path

from windlass.core.lifecycle import EVENT_OF, TRANSITIONS, Event, State, after

PAGE = (Path(__file__).parents[2] / "docs/reference/lifecycle.md").read_text()

EDGES = {
    (state.word, event.name.lower(), following.word)
    for (state, event), all_following in TRANSITIONS.items()
    for following in all_following
}


def test_the_table_has_every_edge_once_with_a_sentence() -> None:
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (\w+) \| (.+) \|$", PAGE, re.MULTILINE)
    edges = [row[:3] for row in rows if row[0] != "from"]
    assert len(edges) == len(set(edges))
    assert set(edges) == EDGES
    assert [row for row in rows if row[0] != "from" and not row[3].endswith(".")] == []


def test_the_diagram_has_every_edge() -> None:
    drawn = set()
    for start, end, events in re.findall(r"^    (\w+) --> (\w+): (.+)$", PAGE, re.MULTILINE):
        drawn |= {(start, event.strip(), end) for event in events.split(",")}
    assert drawn == EDGES


def test_the_page_names_what_a_cancel_request_overrules() -> None:
    sentence = re.search(r"Each of (.+?) then leads to `cancelled`", PAGE, re.DOTALL)
    assert sentence
    named = set(re.findall(r"[a-z_]+", sentence.group(1))) - {"and"}
    overruled = {
        event.name.lower()
        for (state, event) in TRANSITIONS
        if state is State.RUNNING
        and after(state, event, cancel_requested=True) is State.CANCELLED
        and event is not Event.ACKNOWLEDGE_CANCEL
    }
    assert named == overruled
    assert {event.name.lower() for event in EVENT_OF.values()} - named == {"succeed", "acknowledge_cancel"}
