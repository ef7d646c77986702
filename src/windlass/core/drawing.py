"""Graphs of steps as text, Mermaid, DOT and SVG.

Names come from users: each format has its own way to say any text, and nothing of it is left to be obeyed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from windlass.core.text import printable


class DrawnStep(NamedTuple):
    """A step, as it is drawn."""

    name: str
    """Unique in its graph."""
    parents: tuple[str, ...] = ()
    status: str = ""
    """As of a job, or ``omitted``; empty: it has none, since the graph is only planned."""
    note: str = ""
    """What else is said of it, such as how many items it has."""


COLOURS: Mapping[str, tuple[str, str]] = {
    "waiting": ("#f3f4f6", "#9ca3af"),
    "scheduled": ("#ecfeff", "#0891b2"),
    "ready": ("#eff6ff", "#2563eb"),
    "running": ("#fefce8", "#ca8a04"),
    "succeeded": ("#f0fdf4", "#16a34a"),
    "dead": ("#fef2f2", "#dc2626"),
    "cancelled": ("#fdf4ff", "#a21caf"),
    "omitted": ("#ffffff", "#9ca3af"),
}
"""Of a box and its border, by status."""
_PLAIN = ("#ffffff", "#374151")


_DEEPEST = 30
"""How far lines of text are indented: in a chain of thousands nobody could tell, and the text would grow with the
square."""


def as_text(steps: Sequence[DrawnStep]) -> str:
    """A line for each step, behind those that it depends on: its name, how it stands, and what it waits for."""
    rows = [(printable(step.name), printable(_said(step)), step.parents) for step in steps]
    depths = _depths(steps)
    names = ["  " * min(depths[step.name], _DEEPEST) + name for step, (name, _, _) in zip(steps, rows, strict=True)]
    widest, widest_said = max(map(len, names), default=0), max((len(said) for _, said, _ in rows), default=0)
    lines = []
    for name, (_, said, parents) in zip(names, rows, strict=True):
        behind = "" if not parents else f"<- {_listed([printable(one) for one in parents])}"
        lines.append(f"{name:<{widest}}  {said:<{widest_said}}  {behind}".rstrip())
    return "\n".join(lines)


def _listed(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def as_mermaid(steps: Sequence[DrawnStep]) -> str:
    """A flowchart for Mermaid."""
    keys = _keys(steps)
    lines = ["flowchart LR"]
    lines += [f'  {keys[step.name]}["{_label(step, _in_mermaid, "<br/>")}"]{_class(step)}' for step in steps]
    lines += [f"  {keys[parent]} --> {keys[step.name]}" for step in steps for parent in step.parents]
    for status in dict.fromkeys(step.status for step in steps if step.status in COLOURS):
        fill, border = COLOURS[status]
        lines.append(f"  classDef {status} fill:{fill},stroke:{border},color:#111827")
    return "\n".join(lines)


def _class(step: DrawnStep) -> str:
    return f":::{step.status}" if step.status in COLOURS else ""


def _in_mermaid(text: str) -> str:
    # Mermaid knows characters by their numbers, and reads HTML in labels.
    return "".join(sign if sign.isalnum() or sign in " _-.:/,()=" else f"#{ord(sign)};" for sign in printable(text))


def as_dot(steps: Sequence[DrawnStep]) -> str:
    """A digraph for Graphviz."""
    keys = _keys(steps)
    lines = ["digraph run {", "  rankdir=LR;", '  node [shape=box, style="rounded,filled", fontname="sans-serif"];']
    for step in steps:
        fill, border = COLOURS.get(step.status, _PLAIN)
        label = _label(step, _in_dot, "\\n")
        lines.append(f'  {keys[step.name]} [label="{label}", fillcolor="{fill}", color="{border}"];')
    lines += [f"  {keys[parent]} -> {keys[step.name]};" for step in steps for parent in step.parents]
    return "\n".join([*lines, "}"])


def _in_dot(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace('"', '\\"')


_BOX_WIDTH, _BOX_HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 190, 44, 60, 18, 20
_MOST_LETTERS = 26


def as_svg(steps: Sequence[DrawnStep], link: Callable[[str], str] | None = None) -> str:
    """A picture: from left to right, each step behind those that it depends on.

    ``link``: where each step leads, by its name. The picture is then a part of a page: as large as it is drawn, and
    without colours, which the page gives to ``.graph`` and, by status, to the boxes in it.
    """
    places = _places(steps)
    width = _MARGIN * 2 + max((x for x, _ in places.values()), default=0) + _BOX_WIDTH
    height = _MARGIN * 2 + max((y for _, y in places.values()), default=0) + _BOX_HEIGHT
    edges = [(places[parent], places[step.name]) for step in steps for parent in step.parents]
    lines, heads = " ".join(_line(*edge) for edge in edges), " ".join(_head(*edge) for edge in edges)
    if link is not None:
        return "\n".join([
            f'<svg class="graph" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
            f'<path class="lines" d="{lines}"/><path class="heads" d="{heads}"/>',
            *(_linked_box(step, *places[step.name], link(step.name)) for step in steps),
            "</svg>",
        ])  # fmt: skip
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<path d="{lines}" fill="none" stroke="#9ca3af"/><path d="{heads}" fill="#9ca3af"/>',
        *(_box(step, *places[step.name]) for step in steps),
        "</svg>",
    ])  # fmt: skip


def _line(parent: tuple[int, int], child: tuple[int, int]) -> str:
    x1, y1 = parent[0] + _MARGIN + _BOX_WIDTH, parent[1] + _MARGIN + _BOX_HEIGHT // 2
    x2, y2 = child[0] + _MARGIN, child[1] + _MARGIN + _BOX_HEIGHT // 2
    middle = (x1 + x2) // 2
    return f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2 - 5} {y2}"


def _head(_parent: tuple[int, int], child: tuple[int, int]) -> str:
    x, y = child[0] + _MARGIN, child[1] + _MARGIN + _BOX_HEIGHT // 2
    return f"M{x - 6} {y - 3} L{x} {y} L{x - 6} {y + 3} Z"


def _box(step: DrawnStep, x: int, y: int) -> str:
    fill, border = COLOURS.get(step.status, _PLAIN)
    said = _said(step)
    x, y = x + _MARGIN, y + _MARGIN
    name_y = y + (18 if said else 27)
    parts = [
        f"<g><title>{_in_xml(step.name)} {_in_xml(said)}</title>",
        f'<rect x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6" fill="{fill}" stroke="{border}"/>',
        f'<text x="{x + 10}" y="{name_y}" font-size="12" fill="#111827">{_in_xml(_cut(step.name))}</text>',
    ]
    if said:
        parts.append(f'<text x="{x + 10}" y="{y + 34}" fill="{border}" font-size="11">{_in_xml(_cut(said))}</text>')
    return "".join([*parts, "</g>"])


def _linked_box(step: DrawnStep, x: int, y: int, target: str) -> str:
    said = _said(step)
    x, y = x + _MARGIN, y + _MARGIN
    return (
        f'<a href={quoteattr(printable(target))} class={quoteattr(printable(step.status))} tabindex="-1">'
        f"<title>{_in_xml(step.name)} {_in_xml(said)}</title>"
        f'<rect x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6"/>'
        f'<text x="{x + 10}" y="{y + 18}">{_in_xml(_cut(step.name))}</text>'
        f'<text x="{x + 10}" y="{y + 34}" class="said">{_in_xml(_cut(said))}</text></a>'
    )


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_LETTERS else text[: _MOST_LETTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _in_xml(text: str) -> str:
    return escape(printable(text))


# ------------------------------------------------------------------------------------------------------- places


def _keys(steps: Sequence[DrawnStep]) -> dict[str, str]:
    """Short names that every format takes as they are."""
    return {step.name: f"s{number}" for number, step in enumerate(steps, 1)}


def _said(step: DrawnStep) -> str:
    return " ".join(filter(None, (step.status, step.note)))


def _label(step: DrawnStep, write: Callable[[str], str], newline: str) -> str:
    said = _said(step)
    return write(step.name) + (newline + write(said) if said else "")


def _depths(steps: Sequence[DrawnStep]) -> dict[str, int]:
    """How many steps the longest way to each leads through. Parents come before their children."""
    found: dict[str, int] = {}
    for step in steps:
        found[step.name] = max((found[parent] + 1 for parent in step.parents), default=0)
    return found


def _places(steps: Sequence[DrawnStep]) -> dict[str, tuple[int, int]]:
    """Left upper corners: columns by depth, rows by where the parents are, so that few lines cross."""
    depths = _depths(steps)
    columns: dict[int, list[DrawnStep]] = {}
    for step in steps:
        columns.setdefault(depths[step.name], []).append(step)
    rows: dict[str, float] = {}
    for depth in sorted(columns):
        column = columns[depth]
        middle = {step.name: _middle([rows[parent] for parent in step.parents]) for step in column}
        for row, step in enumerate(sorted(column, key=lambda step: middle[step.name])):
            rows[step.name] = row
    return {
        step.name: (depths[step.name] * (_BOX_WIDTH + _GAP_X), round(rows[step.name] * (_BOX_HEIGHT + _GAP_Y)))
        for step in steps
    }


def _middle(rows: Sequence[float]) -> float:
    return sum(rows) / len(rows) if rows else 0.0
