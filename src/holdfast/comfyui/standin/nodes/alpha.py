"""Nodes that put transparency into pictures and take it out again.

Only here do pictures have a fourth channel; a mask is 1 where a picture is
transparent, alpha is the opposite.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from holdfast.comfyui.standin.node import NodeClass, NodeContext, NodeOutput
from holdfast.comfyui.standin.nodes.pixels import resize_masks
from holdfast.comfyui.standin.painter import Pixels

_COMPOSITING: Final = "comfy_extras.nodes_compositing"


def join_image_with_alpha(_context: NodeContext, *, image: Pixels, alpha: Pixels) -> NodeOutput:
    """Give pictures a mask, fitted to their size, as transparency; what has no partner is lost."""
    _, height, width, _ = image.shape
    count = min(len(image), len(alpha))
    opaque = 1 - resize_masks(alpha[:count], width, height)
    return NodeOutput((np.concatenate((image[:count, ..., :3], opaque[..., None]), axis=-1),))


def split_image_with_alpha(_context: NodeContext, *, image: Pixels) -> NodeOutput:
    """Take colours and transparency apart; without an alpha channel nothing is transparent."""
    has_alpha = image.shape[-1] > 3
    mask = 1 - image[..., 3] if has_alpha else np.zeros(image.shape[:3], np.float32)
    return NodeOutput((image[..., :3], mask))


NODES: Final = (
    NodeClass(
        name="JoinImageWithAlpha",
        run=join_image_with_alpha,
        required={"image": ("IMAGE",), "alpha": ("MASK",)},
        outputs=("IMAGE",),
        display_name="Join Image with Alpha",
        category="mask/compositing",
        python_module=_COMPOSITING,
        modern=True,
    ),
    NodeClass(
        name="SplitImageWithAlpha",
        run=split_image_with_alpha,
        required={"image": ("IMAGE",)},
        outputs=("IMAGE", "MASK"),
        display_name="Split Image with Alpha",
        category="mask/compositing",
        python_module=_COMPOSITING,
        modern=True,
    ),
)
"""The classes of this module."""
