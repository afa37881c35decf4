"""The node classes of the stand-in server, by name.

Each module holds the classes of one idea and lists them in ``NODES``; this one
only gathers them. A node class knows nothing of sockets, queues or caches.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from holdfast.comfyui.standin.node import NodeClass
from holdfast.comfyui.standin.nodes import (
    alpha,
    clips,
    custom,
    decoding,
    images,
    latents,
    models,
    retouch,
    sampling,
    saving,
)

__all__ = ["CATALOG"]

CATALOG: Final[Mapping[str, NodeClass]] = MappingProxyType(
    {
        node.name: node
        for module in (
            *(models, latents, clips, sampling, custom, decoding),
            *(images, alpha, retouch, saving),
        )
        for node in module.NODES
    }
)
"""Every node class, by the name used in ``class_type``."""
