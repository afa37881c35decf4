"""Durable jobs on ComfyUI: accepted once they are on disk, and then never lost, never made twice.

Needs the extra ``sql``.
"""

from __future__ import annotations

from holdfast.comfyui.durable.exporting import export_job
from holdfast.comfyui.durable.orders import new_job
from holdfast.comfyui.durable.relay import Relay
from holdfast.comfyui.durable.worker import Progress, Worker

__all__ = ["Progress", "Relay", "Worker", "export_job", "new_job"]
