"""The web page's own workflow format, converted to the one the server takes.

People save and share what the page writes: nodes with positions and colours,
values without names, subgraphs, reroutes, notes. The server takes none of
that. `convert` does what the page does when a workflow is queued.

Layers, each knowing only those before it: `document` reads a file into values;
`widgets`, `text` and `nodes` know what the page makes of one node; `groups`
and `graphs` load whole graphs; `places` unfolds subgraphs; `trace` follows
links; `conversion` puts it together.
"""

from holdfast.comfyui.page.conversion import Converted, convert
from holdfast.comfyui.page.document import is_page
from holdfast.comfyui.page.hints import ModelHint
from holdfast.comfyui.page.missing import MissingNode, MissingNodesError

__all__ = [
    "Converted",
    "MissingNode",
    "MissingNodesError",
    "ModelHint",
    "convert",
    "is_page",
]
