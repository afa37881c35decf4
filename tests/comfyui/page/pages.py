"""Small workflows in the web page's own format, and what the tests compare."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.page import convert

DATA = Path(__file__).parents[2] / "data" / "object_info.json.gz"
HERE = Path(__file__).parent

OUTER = "aaaaaaaa-0000-4000-8000-000000000001"
INNER = "aaaaaaaa-0000-4000-8000-000000000002"


@cache
def catalog() -> Catalog:
    """The classes of a real server, version 0.3.64."""
    return Catalog.load(DATA)


def sent(document: dict[str, Any], known: Catalog | None = None) -> dict[str, Any]:
    """What is sent for a document, ``{id: (class, inputs)}``."""
    graph = convert(document, known or catalog()).graph
    return {key: (node["class_type"], node["inputs"]) for key, node in graph.items()}


def inputs(document: dict[str, Any], node_id: int | str, known: Catalog | None = None) -> Any:
    """The inputs that are sent for one node."""
    return sent(document, known)[str(node_id)][1]


def node(
    node_id: Any,
    kind: str,
    ins: tuple[dict[str, Any], ...] | list[dict[str, Any]] = (),
    outs: list[dict[str, Any]] | tuple[dict[str, Any], ...] = (),
    values: Any = None,
    **more: Any,
) -> dict[str, Any]:
    made: dict[str, Any] = {"id": node_id, "type": kind, "mode": 0, "properties": {}}
    made |= {"inputs": list(ins), "outputs": list(outs)}
    if values is not None:
        made["widgets_values"] = values
    return made | more


def slot(name: str, kind: str, link: Any = None, *, widget: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "type": kind, "link": link}
    return made | ({"widget": {"name": name}} if widget else {})


def out(kind: str, *links: Any) -> dict[str, Any]:
    return {"name": kind, "type": kind, "links": list(links)}


def page(nodes: list[dict[str, Any]], links: list[Any] = [], **more: Any) -> dict[str, Any]:  # noqa: B006
    return {"nodes": nodes, "links": links, "version": 0.4, **more}


def wire(*parts: Any) -> dict[str, Any]:
    """A link as version 1 and all subgraphs have it."""
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    return dict(zip(names, parts, strict=True))


def port(name: str, kind: str, *links: Any) -> dict[str, Any]:
    return {"id": f"port-{name}", "name": name, "type": kind, "linkIds": list(links)}


def subgraph(
    key: str,
    nodes: list[dict[str, Any]],
    links: list[dict[str, Any]],
    ins: list[dict[str, Any]],
    outs: list[dict[str, Any]],
) -> dict[str, Any]:
    more = {"inputs": ins, "outputs": outs}
    return {"id": key, "version": 1, "name": key[-4:], "nodes": nodes, "links": links, **more}


def checkpoint(node_id: Any = 1) -> dict[str, Any]:
    outs = [out("MODEL"), out("CLIP"), out("VAE")]
    return node(node_id, "CheckpointLoaderSimple", [], outs, ["a.safetensors"])


def text(node_id: Any, clip: Any, value: str = "p", **more: Any) -> dict[str, Any]:
    ins = [slot("clip", "CLIP", clip)]
    return node(node_id, "CLIPTextEncode", ins, [out("CONDITIONING")], [value], **more)


def latent(node_id: Any, width: int = 512, height: int = 512) -> dict[str, Any]:
    return node(node_id, "EmptyLatentImage", [], [out("LATENT")], [width, height, 1])


def sampler(
    node_id: Any, *, positive: Any = None, negative: Any = None, latents: Any = None, **more: Any
) -> dict[str, Any]:
    ins = [
        slot("model", "MODEL"),
        slot("positive", "CONDITIONING", positive),
        slot("negative", "CONDITIONING", negative),
        slot("latent_image", "LATENT", latents),
    ]
    values = [5, "fixed", 20, 8, "euler", "normal", 1]
    return node(node_id, "KSampler", ins, [out("LATENT")], values, **more)


def nested(**first: Any) -> dict[str, Any]:
    """Two uses of a subgraph, each with a text of its own, that hands the text on to another.

    Args:
        **first: what is different in the first use.
    """
    inner = subgraph(
        INNER,
        [
            node(
                1,
                "CLIPTextEncode",
                [slot("clip", "CLIP", 1), slot("text", "STRING", 2, widget=True)],
                [out("CONDITIONING", 3)],
                ["deepest"],
            )
        ],
        [
            wire(1, -10, 0, 1, 0, "CLIP"),
            wire(2, -10, 1, 1, 1, "STRING"),
            wire(3, 1, 0, -20, 0, "CONDITIONING"),
        ],
        [port("clip", "CLIP", 1), port("text", "STRING", 2)],
        [port("cond", "CONDITIONING", 3)],
    )
    ins = [slot("clip", "CLIP", 1), slot("text", "STRING", 2, widget=True)]
    outer = subgraph(
        OUTER,
        [node(5, INNER, ins, [out("CONDITIONING", 3)], ["between"])],
        [
            wire(1, -10, 0, 5, 0, "CLIP"),
            wire(2, -10, 1, 5, 1, "STRING"),
            wire(3, 5, 0, -20, 0, "CONDITIONING"),
        ],
        [port("clip", "CLIP", 1), port("text", "STRING", 2)],
        [port("out", "CONDITIONING", 3)],
    )

    def use(node_id: int, clip: int, value: str, **more: Any) -> dict[str, Any]:
        own = [slot("clip", "CLIP", clip), slot("text", "STRING", None, widget=True)]
        return node(node_id, OUTER, own, [out("CONDITIONING")], [value], **more)

    return page(
        [
            checkpoint(),
            use(2, 1, "first", **first),
            use(3, 2, "second"),
            sampler(4, positive=3, negative=4),
        ],
        [
            [1, 1, 1, 2, 0, "CLIP"],
            [2, 1, 1, 3, 0, "CLIP"],
            [3, 2, 0, 4, 1, "CONDITIONING"],
            [4, 3, 0, 4, 2, "CONDITIONING"],
        ],
        # The outer one stands first, as it may.
        definitions={"subgraphs": [outer, inner]},
    )


OLD_TEMPLATES = "comfyui_workflow_templates"
NEW_TEMPLATES = "comfyui_workflow_templates_json"


def folder(package: str) -> Path:
    """Where an installed package keeps its workflows."""
    found = find_spec(package)
    assert found is not None, f"{package} is a test dependency"
    assert found.origin is not None
    return Path(found.origin).parent / "templates"


def templates() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The official workflows: package, name, document."""
    for package in (OLD_TEMPLATES, NEW_TEMPLATES):
        for path in sorted(folder(package).glob("*.json")):
            loaded = json.loads(path.read_bytes())
            # The folders hold lists of templates and their translations, too.
            if isinstance(loaded, dict) and isinstance(loaded.get("nodes"), list):
                yield package, path.name, loaded
