"""Pictures as arrays: size them, fit them together, turn them into Pillow images and back.

Arrays are ``float32`` in 0..1, ``[batch, height, width, 3]`` unless said
otherwise (a fourth channel is alpha), and are never changed in place: results
may share memory with what came in. Failures carry PyTorch's names and words,
since clients read those.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

from holdfast.comfyui.standin.memory import require_host
from holdfast.comfyui.standin.node import NodeError
from holdfast.comfyui.standin.painter import Pixels

_METHODS: Final = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "bislerp": Image.Resampling.BICUBIC,
}


def require_room(*shape: int) -> None:
    """Refuse a ``float32`` array of this shape if it is absurdly large; see `require_host`."""
    size = 4
    for length in shape:
        size *= length
    require_host(size)


def to_image(picture: Pixels) -> Image.Image:
    """Make an 8-bit RGB image of one picture ``[height, width, 3]``; RGBA of four channels."""
    return Image.fromarray(np.clip(picture * 255.0, 0, 255).astype(np.uint8))


def from_image(image: Image.Image) -> Pixels:
    """Make one picture ``[height, width, 3]`` of an image in any mode."""
    return np.asarray(image.convert("RGB"), np.float32) / np.float32(255)


def resize(pictures: Pixels, width: int, height: int, method: str = "bilinear") -> Pixels:
    """Scale pictures to exactly `width` x `height`; values stay within 0..1.

    Raises:
        NodeError: a side of zero pixels, or more than the host can hold.
    """
    count, old_height, old_width, channels = pictures.shape
    if width < 1 or height < 1:
        raise NodeError(
            "RuntimeError",
            "Input and output sizes should be greater than 0, but got "
            f"input (H: {old_height}, W: {old_width}) output (H: {height}, W: {width})",
        )
    if (width, height) == (old_width, old_height):
        return pictures
    require_room(count, height, width, channels)
    scaled = np.empty((count, height, width, channels), np.float32)
    for index, picture in enumerate(pictures):
        for channel in range(channels):
            plane = Image.fromarray(np.ascontiguousarray(picture[:, :, channel]))
            scaled[index, :, :, channel] = np.asarray(
                plane.resize((width, height), _METHODS[method])
            )
    return np.clip(scaled, 0.0, 1.0, out=scaled)


def resize_cropped(pictures: Pixels, width: int, height: int, method: str = "bilinear") -> Pixels:
    """Cut pictures about their centre to the new proportions, then scale them."""
    _, old_height, old_width, _ = pictures.shape
    if height < 1 or width < 1:
        return resize(pictures, width, height, method)
    proportion = width / height
    left = max(0, round((old_width - old_height * proportion) / 2))
    top = max(0, round((old_height - old_width / proportion) / 2))
    return resize(
        pictures[:, top : old_height - top, left : old_width - left], width, height, method
    )


def resize_masks(masks: Pixels, width: int, height: int) -> Pixels:
    """Scale masks ``[batch, height, width]``."""
    return resize(masks[..., None], width, height)[..., 0]


def repeat_to(pictures: Pixels, count: int) -> Pixels:
    """Cut or repeat a batch until it holds `count` items."""
    rounds = -(-count // len(pictures))
    return np.concatenate([pictures] * rounds)[:count] if rounds > 1 else pictures[:count]


def blur(pictures: Pixels, radius: int, sigma: float) -> Pixels:
    """Blur with a Gaussian of ``2 * radius + 1`` taps; `sigma` is in units of the radius.

    Raises:
        NodeError: a picture that is not larger than the radius, which cannot be mirrored.
    """
    count, height, width, channels = pictures.shape
    for argument, dimension, length in ((4, 3, width), (6, 2, height)):
        if radius >= length:
            raise NodeError(
                "RuntimeError",
                f"Argument #{argument}: Padding size should be less than the corresponding input "
                f"dimension, but got: padding ({radius}, {radius}) at dimension {dimension} of "
                f"input [{count}, {channels}, {height}, {width}]",
            )
    taps = np.exp(-(np.linspace(-1, 1, 2 * radius + 1) ** 2) / (2 * sigma * sigma))
    taps /= taps.sum()
    for axis, length in ((1, height), (2, width)):
        margins = [(0, 0)] * 4
        margins[axis] = (radius, radius)
        padded = np.pad(pictures, margins, mode="reflect")
        total = np.zeros(pictures.shape, np.float32)
        for offset, weight in enumerate(taps):
            window = padded[:, offset : offset + length]
            if axis == 2:
                window = padded[:, :, offset : offset + length]
            total += np.float32(weight) * window
        pictures = total
    return pictures
