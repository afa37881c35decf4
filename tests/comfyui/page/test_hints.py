"""The models an author named are told, as they are named."""

from __future__ import annotations

import pytest

from holdfast.comfyui.page import ModelHint, convert
from holdfast.comfyui.page.hints import MAX_HINTS, hints
from tests.comfyui.page.pages import catalog, nested, node, page

FLUX = {
    "name": "flux.safetensors",
    "url": "https://x.org/flux.safetensors",
    "directory": "checkpoints",
    "hash": "ab12",
    "hash_type": "SHA256",
}


def test_a_node_names_its_models():
    document = page([node(1, "EmptyLatentImage", properties={"models": [FLUX, FLUX]})])
    (model,) = convert(document, catalog()).models
    assert model == ModelHint(
        "flux.safetensors", "https://x.org/flux.safetensors", "checkpoints", "ab12", "SHA256"
    )


def test_so_do_nodes_in_subgraphs_and_the_file_itself():
    document = nested()
    inside = document["definitions"]["subgraphs"][1]["nodes"][0]
    inside["properties"]["models"] = [{"name": "a", "url": "u", "directory": "vae"}]
    document["models"] = [{"name": "b"}]
    assert convert(document, catalog()).models == (
        ModelHint("a", "u", "vae"),
        ModelHint("b", "", ""),
    )


@pytest.mark.parametrize("odd", [None, 5, "x", [], {}, {"name": 5}, {"name": ""}, {"url": "u"}])
def test_what_is_no_model_is_left_out(odd):
    assert hints([odd, FLUX]) == hints([FLUX])


def test_there_is_an_end_to_the_list():
    assert len(hints({"name": str(at)} for at in range(MAX_HINTS + 5))) == MAX_HINTS
