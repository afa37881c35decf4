"""What a workflow does, read off its graph: prompts, seeds, sizes, models, outputs, and the rest.

`view` answers what people ask of a workflow they did not draw. Every item
says where its value stands, so that it can be set there, or why it cannot.
A server's `Catalog` is not needed, but makes the answers better. Nothing is
changed.
"""

from holdfast.comfyui.views.knobs import Knob, follow
from holdfast.comfyui.views.optional import Optional, OptionalKind
from holdfast.comfyui.views.prompts import Prompt
from holdfast.comfyui.views.view import ModelUse, Output, Paid, Size, WorkflowView, view

__all__ = [
    "Knob",
    "ModelUse",
    "Optional",
    "OptionalKind",
    "Output",
    "Paid",
    "Prompt",
    "Size",
    "WorkflowView",
    "follow",
    "view",
]
