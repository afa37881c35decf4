"""A ComfyUI server to break on purpose: the real protocol, pictures made of arithmetic.

`StandIn` speaks ComfyUI's HTTP and WebSocket protocol as v0.3.64 does, quirks
included, and misbehaves on demand: give it a list of `Fault` values, or read
them from a TOML file with `load_faults`. It needs no GPU and starts at once.

Nothing heavier than aiohttp is loaded until a server starts.
"""

from holdfast.comfyui.standin.config import StandInConfig
from holdfast.comfyui.standin.faults import Fault, Fired, load_faults
from holdfast.comfyui.standin.server import StandIn

__all__ = ["Fault", "Fired", "StandIn", "StandInConfig", "load_faults"]
