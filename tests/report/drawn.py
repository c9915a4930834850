"""What stands where in a drawn chart."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from zipformer.report.chart import Chart, to_svg_file


def drawing(chart: Chart) -> ElementTree.Element:
    """The chart in a file of its own."""
    return parsed(to_svg_file("charts", [chart]))


def parsed(svg: str) -> ElementTree.Element:
    """An SVG file with plain names of elements."""
    return ElementTree.fromstring(svg.replace(" xmlns=", " data-namespace=", 1))


def marks(tree: ElementTree.Element) -> dict[str, tuple[float, float]]:
    """Pixels of marks by their titles, from the left and from above."""
    found = {}
    for mark in tree.iter("path"):
        place = re.match(r"translate\((\S+) (\S+)\)", mark.get("transform", ""))
        title = mark.findtext("title")
        if place and title:
            found[title] = (float(place[1]), float(place[2]))
    return found


def texts(tree: ElementTree.Element) -> list[str]:
    """Everything that is written in it, from axes to legend."""
    return [text.text or "" for text in tree.iter("text")]
