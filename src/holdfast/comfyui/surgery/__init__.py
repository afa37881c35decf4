"""Changes to a workflow that let it run where it did not, each with words for what was done.

An edit is a pure function. It takes a workflow and the `Catalog` of the server it is to run on, and
returns an `Edit`, or None if it does not apply, would change nothing or has
reached its limit. What it returns the server takes: every required input is
there, every value within its range, no link leads nowhere, an output is left.
"""

from holdfast.comfyui.surgery.batch import SPLIT_BATCH, Split, batch_of, split_batch
from holdfast.comfyui.surgery.bypass import bypass, without_class
from holdfast.comfyui.surgery.effort import cheaper_sampler, fewer_steps
from holdfast.comfyui.surgery.family import FAMILIES, Family, family_of, snap_frames, snap_size
from holdfast.comfyui.surgery.frames import fewer_frames, frames_of
from holdfast.comfyui.surgery.ladder import memory_steps, next_memory_edit
from holdfast.comfyui.surgery.limits import KnobLimits
from holdfast.comfyui.surgery.loaders import (
    lower_precision,
    smaller_text_encoder,
    text_encoder_on_cpu,
)
from holdfast.comfyui.surgery.names import mend_model_names, replace_models, with_the_rest
from holdfast.comfyui.surgery.polish import (
    Polish,
    bypass_optional,
    drop_control,
    drop_lora,
    drop_polish,
    drop_previews,
    drop_second_pass,
    polish_of,
)
from holdfast.comfyui.surgery.resolution import lower_resolution
from holdfast.comfyui.surgery.tiling import tile
from holdfast.comfyui.surgery.windows import context_windows

__all__ = [
    "FAMILIES",
    "SPLIT_BATCH",
    "Family",
    "KnobLimits",
    "Polish",
    "Split",
    "batch_of",
    "bypass",
    "bypass_optional",
    "cheaper_sampler",
    "context_windows",
    "drop_control",
    "drop_lora",
    "drop_polish",
    "drop_previews",
    "drop_second_pass",
    "family_of",
    "fewer_frames",
    "fewer_steps",
    "frames_of",
    "lower_precision",
    "lower_resolution",
    "memory_steps",
    "mend_model_names",
    "next_memory_edit",
    "polish_of",
    "replace_models",
    "smaller_text_encoder",
    "snap_frames",
    "snap_size",
    "split_batch",
    "text_encoder_on_cpu",
    "tile",
    "with_the_rest",
    "without_class",
]
