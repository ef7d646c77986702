"""Graphs as text, Mermaid, DOT and SVG, whatever the steps are called."""

from xml.etree import ElementTree as ET

import pytest

from windlass.core.drawing import DrawnStep, as_dot, as_mermaid, as_svg, as_text

STEPS = [
    DrawnStep("split", (), "succeeded"),
    DrawnStep("score", ("split",), "running", "3 running, 7 succeeded"),
    DrawnStep("tidy", ("score",), "waiting"),
    DrawnStep("combine", ("score", "split"), "waiting"),
]
HOSTILE = '</text><script>alert(1)</script>"]; x -> y\n\x1b[31m`&#35;'


def test_text_shows_how_each_stands_and_what_it_waits_for() -> None:
    assert as_text(STEPS) == (
        "split        succeeded\n"
        "  score      running 3 running, 7 succeeded  <- split\n"
        "    tidy     waiting                         <- score\n"
        "    combine  waiting                         <- score, split"
    )


def test_text_names_few_of_many_parents() -> None:
    many = [DrawnStep(f"s{n}") for n in range(9)]
    assert as_text([*many, DrawnStep("end", tuple(one.name for one in many))]).endswith(
        "<- s0, s1, s2, s3, s4, s5 and 3 more"
    )


def test_mermaid() -> None:
    lines = as_mermaid(STEPS).splitlines()
    assert lines[0] == "flowchart LR"
    assert '  s2["score<br/>running 3 running, 7 succeeded"]:::running' in lines
    assert "  s2 --> s4" in lines
    assert any(line.startswith("  classDef running ") for line in lines)


def test_dot_is_a_digraph() -> None:
    text = as_dot(STEPS)
    assert text.startswith("digraph run {")
    assert '  s1 [label="split\\nsucceeded"' in text
    assert "  s2 -> s3;" in text
    assert text.endswith("}")


def test_svg_is_well_formed_and_has_a_box_for_each() -> None:
    root = ET.fromstring(as_svg(STEPS))
    boxes = root.findall(".//{http://www.w3.org/2000/svg}g/{http://www.w3.org/2000/svg}rect")
    assert len(boxes) == len(STEPS)
    places = {(box.get("x"), box.get("y")) for box in boxes}
    assert len(places) == len(STEPS), "boxes lie on each other"


def test_svg_for_a_page_leads_to_each_step_and_has_no_colours_of_its_own() -> None:
    text = as_svg([*STEPS, DrawnStep(HOSTILE, (), HOSTILE, HOSTILE)], lambda name: f"/jobs/{name}")
    root = ET.fromstring(text)
    assert [link.get("href") for link in root.iter("a")][:-1] == [f"/jobs/{step.name}" for step in STEPS]
    assert [link.get("class") for link in root.iter("a")][:-1] == [step.status for step in STEPS]
    assert "fill=" not in text
    assert "<script" not in text


@pytest.mark.parametrize("draw", [as_text, as_mermaid, as_dot, as_svg])
def test_nothing_in_a_name_is_obeyed(draw: object) -> None:
    text = draw([DrawnStep(HOSTILE, (), HOSTILE, HOSTILE), DrawnStep("child", (HOSTILE,))])  # type: ignore[operator]
    assert "\x1b" not in text
    if draw is as_svg:
        assert "<script" not in text
        ET.fromstring(text)
    if draw is as_mermaid:
        assert "<script" not in text
        assert text.count('"') == 4
    if draw is as_dot:
        assert '"]; x' not in text.replace('\\"', "")


def test_an_empty_graph_can_be_drawn() -> None:
    assert as_text([]) == ""
    ET.fromstring(as_svg([]))
    assert as_mermaid([]) == "flowchart LR"


def test_a_thousand_steps_are_drawn_beside_each_other() -> None:
    steps = [DrawnStep("root")] + [DrawnStep(f"s{n}", ("root",)) for n in range(1000)]
    root = ET.fromstring(as_svg(steps))
    assert len(root.findall(".//{http://www.w3.org/2000/svg}g")) == 1001
