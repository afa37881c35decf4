"""A workflow: nodes, their inputs, and what running it should leave behind.

A `Workflow` is a value. Every change returns a new one, so one loaded file can
be run a thousand times with a thousand seeds from many tasks at once.
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeAlias

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.page import ModelHint, convert, is_page
from holdfast.errors import BadInputError

MAX_FILE_BYTES = 64 * 2**20
"""A workflow file larger than this is not read; the server takes 100 MiB at most."""

MAX_DEPTH = 100
"""Lists and objects inside one another; real workflows have four or five."""

SAVING_NODES = frozenset(
    {
        "SaveImage",
        "PreviewImage",
        "SaveAnimatedWEBP",
        "SaveAnimatedPNG",
        "SaveVideo",
        "SaveWEBM",
        "SaveAudio",
        "SaveAudioMP3",
        "SaveAudioOpus",
        "SaveGLB",
        "SaveSVGNode",
        "SaveLatent",
        "VHS_VideoCombine",
        "Image Save",
    },
)
"""Output nodes that leave files; a run that ends without them has not delivered."""

SEED_INPUTS = ("seed", "noise_seed")
ObjectInfo: TypeAlias = Catalog | Mapping[str, Any] | str | Path
"""What a server answers to `/object_info`: as a catalog, as it was parsed, or a file of it."""

RERUN_INPUT = "holdfast_rerun"
"""An input no node knows. The server drops it, but its cache key changes, so the node runs."""


class PageFormatError(BadInputError):
    """A workflow in the web page's own format, which cannot be read without a server's classes."""


@dataclass(frozen=True, slots=True)
class Workflow:
    """A graph in ComfyUI's API format, with a name to call its pictures by."""

    graph: Mapping[str, Mapping[str, Any]]
    """``{node id: {"class_type": str, "inputs": {...}}}``. Treat as read-only."""
    name: str = "workflow"
    models_hinted: tuple[ModelHint, ...] = ()
    """The models its author named, with where they can be had; known of the page's format only."""

    @classmethod
    def load(cls, path: str | Path, object_info: ObjectInfo | None = None) -> Self:
        """Read a workflow file, in API format or in the web page's own.

        Args:
            path: of the file.
            object_info: the node classes of the server it is for; the page's format cannot be
                read without. Not needed for the API format.

        Raises:
            MissingNodesError: the file is in the page's format and needs node classes that the
                server does not have.
            BadInputError: the file cannot be read, is not JSON, or is not a workflow; the
                message says which and what to do.
        """
        path = Path(path)
        try:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise BadInputError(
                    f"{path}: {size:,} bytes is too large for a workflow "
                    f"(at most {MAX_FILE_BYTES:,})"
                )
            raw = path.read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadInputError(f"{path}: cannot read the workflow file: {reason}") from None
        return cls.parse(raw, name=path.stem, source=str(path), object_info=object_info)

    @classmethod
    def parse(
        cls,
        raw: bytes | str,
        *,
        name: str = "workflow",
        source: str = "workflow",
        object_info: ObjectInfo | None = None,
    ) -> Self:
        """Read a workflow from JSON text; ``source`` names it in errors.

        Raises:
            BadInputError: as `load`.
        """
        try:
            loaded = json.loads(raw)
        except RecursionError:
            raise BadInputError(f"{source}: nested too deeply to be a workflow") from None
        except ValueError as error:
            raise BadInputError(f"{source}: not JSON: {error}") from None
        if is_page(loaded) and object_info is not None:
            return cls.from_page(loaded, object_info, name=name, source=source)
        return cls.from_api(loaded, name=name, source=source)

    @classmethod
    def from_page(
        cls,
        loaded: Any,
        object_info: ObjectInfo,
        *,
        name: str = "workflow",
        source: str = "workflow",
    ) -> Self:
        """Take a parsed workflow in the web page's own format.

        The result is what the page itself would send to the server, down to the ids of the
        nodes. Of choices such as ``{day|night}`` in prompts, of which the page picks one by
        chance, it has the first.

        Args:
            loaded: the parsed file.
            object_info: the node classes of the server it is for.
            name: for the workflow.
            source: what to call it in errors.

        Raises:
            MissingNodesError: it needs node classes that the server does not have.
            BadInputError: this is no such workflow.
        """
        if not is_page(loaded):
            raise BadInputError(f"{source}: this is not a workflow in the web page's own format")
        if _deeper_than(loaded, MAX_DEPTH):
            raise BadInputError(f"{source}: nested too deeply to be a workflow")
        converted = convert(loaded, Catalog.of(object_info), source=source)
        workflow = cls.from_api(converted.graph, name=name, source=source)
        return replace(workflow, models_hinted=converted.models)

    @classmethod
    def from_api(cls, loaded: Any, *, name: str = "workflow", source: str = "workflow") -> Self:
        """Take a graph in API format, or a whole `/prompt` body that holds one.

        Raises:
            BadInputError: this is not a workflow in API format.
        """
        if isinstance(loaded, dict) and isinstance(loaded.get("prompt"), dict):
            loaded = loaded["prompt"]
        if is_page(loaded):
            raise PageFormatError(
                f"{source}: this is the web page's own format; to read it, Holdfast must know the "
                "server's node classes: give object_info= (on the command line --object-info FILE "
                "or --server URL), or export it in API format (in ComfyUI: Workflow > Export (API))"
            )
        if not isinstance(loaded, dict):
            what = type(loaded).__name__
            raise BadInputError(f"{source}: a workflow is an object of nodes, this is a {what}")
        if not loaded:
            raise BadInputError(f"{source}: the workflow has no nodes")
        if _deeper_than(loaded, MAX_DEPTH):
            raise BadInputError(f"{source}: nested too deeply to be a workflow")
        for node_id, node in loaded.items():
            _check_node(source, node_id, node)
            _check_links(source, node_id, node, loaded)
        return cls(copy.deepcopy(loaded), name)

    def to_api(self) -> dict[str, Any]:
        """A copy of the graph that may be changed and sent."""
        return copy.deepcopy({node_id: dict(node) for node_id, node in self.graph.items()})

    def with_inputs(self, inputs: Mapping[str, Any]) -> Self:
        """A new workflow with some inputs replaced.

        Args:
            inputs: ``"3.seed": 5`` sets one node's input; ``"seed": 5`` sets it on every node
                that has it as a plain value.

        Raises:
            BadInputError: no such node or input; the message names the nearest ones.
        """
        graph = self.to_api()
        for key, value in inputs.items():
            _check_value(key, value)
            for node_id, name in self.targets(key):
                graph[node_id]["inputs"][name] = copy.deepcopy(value)
        return replace(self, graph=graph)

    def targets(self, key: str) -> list[tuple[str, str]]:
        """The inputs that ``"3.seed"`` or plain ``"seed"`` means, as (node id, input name).

        Raises:
            BadInputError: as `with_inputs`.
        """
        if "." not in key:
            return self._everywhere(key)
        node_id, name = self._split(key)
        node = self.graph.get(node_id)
        if node is None:
            raise BadInputError(
                f"{key}: there is no node {node_id!r}; {self._suggest_nodes(node_id)}"
            )
        inputs = node["inputs"]
        if name not in inputs:
            raise BadInputError(
                f"{key}: node {node_id} ({node['class_type']}) has no input {name!r}; "
                f"it has {', '.join(inputs) or 'none'}"
            )
        if is_link(inputs[name]):
            raise BadInputError(
                f"{key}: this input is linked from node {inputs[name][0]}; set it there"
            )
        return [(node_id, name)]

    def _split(self, key: str) -> tuple[str, str]:
        # Inputs may have dots in their names, and so may nodes' ids: the longest id wins.
        dots = [index for index, letter in enumerate(key) if letter == "."]
        for at in reversed(dots):
            if key[:at] in self.graph:
                return key[:at], key[at + 1 :]
        return key[: dots[0]], key[dots[0] + 1 :]

    def _everywhere(self, name: str) -> list[tuple[str, str]]:
        found = [
            (node_id, name)
            for node_id, node in self.graph.items()
            if name in node["inputs"] and not is_link(node["inputs"][name])
        ]
        if not found and name == "seed":
            found = self.seeds()
        if not found:
            known = sorted({each for node in self.graph.values() for each in node["inputs"]})
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else f"there is {', '.join(known)}"
            raise BadInputError(f"{name}: no node has a plain input of this name; {hint}")
        return found

    def _suggest_nodes(self, node_id: str) -> str:
        listed = [f"{each} ({node['class_type']})" for each, node in self.graph.items()]
        titled = [each for each in listed if node_id.lower() in each.lower()]
        shown = (titled or listed)[:8]
        more = f" and {len(listed) - len(shown)} more" if len(listed) > len(shown) else ""
        return f"the workflow has {', '.join(shown)}{more}"

    def seeds(self) -> list[tuple[str, str]]:
        """Where seeds stand as plain numbers: (node id, input name)."""
        return [
            (node_id, name)
            for node_id, node in self.graph.items()
            for name in SEED_INPUTS
            if isinstance(node["inputs"].get(name), int)
        ]

    def with_seeds_moved(self, steps: int) -> Self:
        """A new workflow with every seed raised by ``steps``, as the page's 'increment' does."""
        graph = self.to_api()
        for node_id, name in self.seeds():
            graph[node_id]["inputs"][name] = (graph[node_id]["inputs"][name] + steps) % 2**64
        return replace(self, graph=graph)

    def saving_nodes(self) -> dict[str, str]:
        """Nodes that must leave files behind: node id to class name."""
        return {
            node_id: node["class_type"]
            for node_id, node in self.graph.items()
            if node["class_type"] in SAVING_NODES
        }

    def working_nodes(self) -> frozenset[str]:
        """Nodes that are not loaders: making these run again loads no model anew."""
        return frozenset(
            node_id for node_id, node in self.graph.items() if "Load" not in node["class_type"]
        )

    def rerun(self, nodes: frozenset[str], mark: str) -> Self:
        """A new workflow in which ``nodes`` miss the server's cache and run again.

        Only an input that no node knows is added: the picture is the same.
        """
        graph = self.to_api()
        for node_id in nodes & graph.keys():
            graph[node_id]["inputs"][RERUN_INPUT] = mark
        return replace(self, graph=graph)


def is_link(value: Any) -> bool:
    """Whether an input's value is a link to another node's output."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
    )


def _check_value(key: str, value: Any) -> None:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInputError(
            f"{key}: {repr(value)[:80]} cannot be sent to a server as JSON: {error}"
        ) from None


_IS_IT_API = "Is this a workflow in API format? (in ComfyUI: Workflow > Export (API))"


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += each.values()
            elif isinstance(each, list):
                below += each
        level = [each for each in below if isinstance(each, dict | list)]
        if not level:
            return False
    return True


def _check_node(source: str, node_id: Any, node: Any) -> None:
    where = f"{source}: node {node_id!r}"
    if not isinstance(node_id, str):
        raise BadInputError(f"{where}: a node's id is text, as in JSON")
    if not isinstance(node, dict):
        raise BadInputError(
            f"{where} is {json.dumps(node, default=repr)[:80]}; a node is an object with "
            f"class_type and inputs. {_IS_IT_API}"
        )
    if not isinstance(node.get("class_type"), str) or not node["class_type"]:
        raise BadInputError(f"{where} has no class_type. {_IS_IT_API}")
    if not isinstance(node.get("inputs"), dict):
        raise BadInputError(f"{where} ({node['class_type']}) has no inputs object")


def _check_links(source: str, node_id: str, node: Any, graph: Mapping[str, Any]) -> None:
    # The server refuses such a link, too, but not in an input it does not know: there it takes
    # the workflow and its worker dies of it, for everybody and until it is restarted.
    for name, value in node["inputs"].items():
        if is_link(value) and value[0] not in graph:
            raise BadInputError(
                f"{source}: node {node_id} ({node['class_type']}): {name} is linked from node "
                f"{value[0]!r}, which does not exist"
            )
