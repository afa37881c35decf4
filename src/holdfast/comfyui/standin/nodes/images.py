"""Nodes where pictures and masks come from, and nodes that count and batch them.

No node here changes what a picture shows; `retouch.py` has those.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Final

import numpy as np
from PIL import Image, ImageFile, ImageOps, ImageSequence, UnidentifiedImageError

from holdfast.comfyui.standin.node import (
    Folders,
    NodeClass,
    NodeContext,
    NodeError,
    NodeOutput,
    ServerFiles,
)
from holdfast.comfyui.standin.nodes.pixels import from_image, require_room, resize_cropped
from holdfast.comfyui.standin.nodes.specs import (
    BATCH_SIZE,
    MAX_BATCH,
    choice,
    integer,
    number,
    side,
)
from holdfast.comfyui.standin.painter import Pixels

_CHANNELS: Final = ("red", "green", "blue", "alpha")
_MASKS: Final = "comfy_extras.nodes_mask"
_IMAGES: Final = "comfy_extras.nodes_images"

# Whether Pillow accepts a truncated file is one switch for the whole process.
_truncated_files = Lock()


def _input_path(folders: Folders, name: str) -> Path:
    """Find an input file; ``NAME [output]`` and ``NAME [temp]`` look in those folders.

    Raises:
        AttributeError: the name is no text.
        FileNotFoundError: the name leads out of its folder.
    """
    folder = folders.input
    for mark, marked in (
        (" [output]", folders.output),
        (" [input]", folders.input),
        (" [temp]", folders.temp),
    ):
        if name.endswith(mark):
            name, folder = name.removesuffix(mark), marked
            break
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return path


def _validate_input(files: ServerFiles, inputs: Mapping[str, Any]) -> str | None:
    name = inputs["image"]
    try:
        found = _input_path(files.folders, name).is_file()
    except FileNotFoundError:
        found = False
    return None if found else f"Invalid image file: {name}"


def _fingerprint_input(files: ServerFiles, inputs: Mapping[str, Any]) -> str:
    return hashlib.sha256(_input_path(files.folders, inputs["image"]).read_bytes()).hexdigest()


def load_image(context: NodeContext, *, image: str) -> NodeOutput:
    """Read an input file; every frame of the first frame's size becomes one item of the batch.

    Raises:
        NodeError: the file is no image. A truncated one loads as far as it goes.
    """
    path = _input_path(context.folders, image)
    with _truncated_files:
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            with Image.open(str(path)) as file:
                frames = [_upright(frame) for frame in ImageSequence.Iterator(file)]
        except UnidentifiedImageError as error:
            raise NodeError("PIL.UnidentifiedImageError", str(error)) from error
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before
    alike = [frame for frame in frames if frame.size == frames[0].size]
    pictures = np.stack([from_image(frame) for frame in alike])
    return NodeOutput((pictures, np.stack([_transparency(frame) for frame in alike])))


def _upright(frame: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(frame)
    if image.mode.startswith("I"):  # 16 or 32 bits a pixel
        image = image.convert("I").point(lambda value: value * (1 / 255))
    return image.copy()


def _transparency(image: Image.Image) -> Pixels:
    if "A" in image.getbands():
        alpha = image.getchannel("A")
    elif image.mode == "P" and "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
    else:
        return np.zeros((64, 64), np.float32)
    return 1 - np.asarray(alpha, np.float32) / np.float32(255)


def empty_image(
    _context: NodeContext, *, width: int, height: int, batch_size: int = 1, color: int = 0
) -> NodeOutput:
    """Make pictures of one colour (``0xRRGGBB``). They share memory, but size is charged in full.

    Raises:
        NodeError: larger than the host can hold, be it one channel or all three.
    """
    require_room(batch_size, height, width, 1)
    require_room(batch_size, height, width, 3)
    channels = np.array([color >> 16 & 255, color >> 8 & 255, color & 255], np.float32) / 255
    return NodeOutput((np.broadcast_to(channels, (batch_size, height, width, 3)),))


def solid_mask(_context: NodeContext, *, value: float, width: int, height: int) -> NodeOutput:
    """Make a mask of one value."""
    require_room(height, width)
    return NodeOutput((np.broadcast_to(np.float32(value), (1, height, width)),))


def mask_to_image(_context: NodeContext, *, mask: Pixels) -> NodeOutput:
    """Show masks as grey pictures."""
    grey = mask.reshape((-1, *mask.shape[-2:], 1))
    return NodeOutput((np.broadcast_to(grey, (*grey.shape[:3], 3)),))


def image_to_mask(_context: NodeContext, *, image: Pixels, channel: str) -> NodeOutput:
    """Take one channel as a mask; pictures have no alpha, so asking for it fails."""
    index, size = _CHANNELS.index(channel), image.shape[-1]
    if index >= size:
        text = f"index {index} is out of bounds for dimension 3 with size {size}"
        raise NodeError("IndexError", text)
    return NodeOutput((image[..., index],))


def image_batch(_context: NodeContext, *, image1: Pixels, image2: Pixels) -> NodeOutput:
    """Join two batches; the second is fitted to the first one's size."""
    _, height, width, channels = image1.shape
    second = resize_cropped(image2, width, height)
    require_room(len(image1) + len(second), height, width, channels)
    return NodeOutput((np.concatenate((image1, second)),))


def image_from_batch(
    _context: NodeContext, *, image: Pixels, batch_index: int, length: int
) -> NodeOutput:
    """Take part of a batch; what lies past its end is left out."""
    start = min(len(image) - 1, batch_index)
    return NodeOutput((image[start : start + length],))


def repeat_image_batch(_context: NodeContext, *, image: Pixels, amount: int) -> NodeOutput:
    """Repeat a whole batch."""
    require_room(amount, *image.shape)
    return NodeOutput((np.tile(image, (amount, 1, 1, 1)),))


def get_image_size(context: NodeContext, *, image: Pixels) -> NodeOutput:
    """Say how large pictures are and how many, to people too."""
    count, height, width, _ = image.shape
    context.say(f"width: {width}, height: {height}\n batch size: {count}")
    return NodeOutput((width, height, count))


NODES: Final = (
    NodeClass(
        name="LoadImage",
        run=load_image,
        required={"image": choice(image_upload=True)},
        outputs=("IMAGE", "MASK"),
        display_name="Load Image",
        category="image",
        choices={"image": lambda files: files.input_images()},
        validate=_validate_input,
        validates=("image",),
        fingerprint=_fingerprint_input,
    ),
    NodeClass(
        name="EmptyImage",
        run=empty_image,
        required={
            "width": side(),
            "height": side(),
            "batch_size": BATCH_SIZE,
            "color": integer(0, 0, 0xFFFFFF, 1, display="color"),
        },
        outputs=("IMAGE",),
        display_name="EmptyImage",
        category="image",
    ),
    NodeClass(
        name="SolidMask",
        run=solid_mask,
        required={"value": number(1.0, 0.0, 1.0, 0.01), "width": side(), "height": side()},
        outputs=("MASK",),
        display_name="SolidMask",
        category="mask",
        python_module=_MASKS,
    ),
    NodeClass(
        name="MaskToImage",
        run=mask_to_image,
        required={"mask": ("MASK",)},
        outputs=("IMAGE",),
        display_name="Convert Mask to Image",
        category="mask",
        python_module=_MASKS,
    ),
    NodeClass(
        name="ImageToMask",
        run=image_to_mask,
        required={"image": ("IMAGE",), "channel": choice(*_CHANNELS)},
        outputs=("MASK",),
        display_name="Convert Image to Mask",
        category="mask",
        python_module=_MASKS,
    ),
    NodeClass(
        name="ImageBatch",
        run=image_batch,
        required={"image1": ("IMAGE",), "image2": ("IMAGE",)},
        outputs=("IMAGE",),
        display_name="Batch Images",
        category="image",
    ),
    NodeClass(
        name="ImageFromBatch",
        run=image_from_batch,
        required={
            "image": ("IMAGE",),
            "batch_index": integer(0, 0, MAX_BATCH - 1),
            "length": integer(1, 1, MAX_BATCH),
        },
        outputs=("IMAGE",),
        display_name="ImageFromBatch",
        category="image/batch",
        python_module=_IMAGES,
    ),
    NodeClass(
        name="RepeatImageBatch",
        run=repeat_image_batch,
        required={"image": ("IMAGE",), "amount": integer(1, 1, MAX_BATCH)},
        outputs=("IMAGE",),
        display_name="RepeatImageBatch",
        category="image/batch",
        python_module=_IMAGES,
    ),
    NodeClass(
        name="GetImageSize",
        run=get_image_size,
        required={"image": ("IMAGE",)},
        hidden={"unique_id": "UNIQUE_ID"},
        outputs=("INT", "INT", "INT"),
        output_names=("width", "height", "batch_size"),
        display_name="Get Image Size",
        category="image",
        description="Says how large pictures are and how many there are.",
        python_module=_IMAGES,
    ),
)
"""The classes of this module, in the order people meet them."""
