"""What is converted is exactly what the real web page sends.

``gold/`` holds what the page made of 25 official templates, in front of the server whose
classes are in ``tests/data``. ``measured/`` holds small workflows of our own with what the page
made of them, and which version of it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.comfyui.page import convert
from tests.comfyui.page.pages import HERE, OLD_TEMPLATES, catalog, folder

GOLD = sorted((HERE / "gold").glob("*.json"))
MEASURED = sorted((HERE / "measured").glob("*.json"))

OF_THE_PAGE_ONLY = {
    # A player, a viewer and a button: things to look at and click, which no server asks for.
    ("LoadAudio", "audioUI"),
    ("SaveAudio", "audioUI"),
    ("SaveAudioMP3", "audioUI"),
    ("SaveGLB", "image"),
    ("LoadImage", "upload"),
}
TITLED_BY_THE_PAGE = {"ImageScaleToTotalPixels", "ImageBlur"}
"""Classes for which the page has a translation into English of its own."""


def from_page(graph: dict[str, Any]) -> dict[str, Any]:
    return {
        key: (
            node["class_type"],
            {
                name: value
                for name, value in node["inputs"].items()
                if (node["class_type"], name) not in OF_THE_PAGE_ONLY
            },
            None if node["class_type"] in TITLED_BY_THE_PAGE else node["_meta"]["title"],
        )
        for key, node in graph.items()
    }


def test_the_gold_is_all_here():
    assert len(GOLD) == 25
    assert len(MEASURED) == 11


@pytest.mark.parametrize("path", GOLD, ids=lambda path: path.stem)
def test_a_template_converts_to_what_the_page_sends(path):
    document = json.loads((folder(OLD_TEMPLATES) / path.name).read_bytes())
    expected = json.loads(path.read_bytes())
    assert from_page(convert(document, catalog()).graph) == from_page(expected)


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_a_workflow_of_our_own_converts_to_what_the_page_sends(path):
    measured = json.loads(path.read_bytes())
    ours = convert(measured["document"], catalog()).graph
    assert from_page(ours) == from_page(measured["sent"])
