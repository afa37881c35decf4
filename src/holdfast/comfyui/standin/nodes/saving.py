"""Nodes that write files: pictures, animations and videos.

Every file says in its metadata that a stand-in made it, and keeps the workflow
as a real server's files do. `NodeContext.before_save` runs just before each
file is written and `NodeContext.after_save` just after; an `OSError` from
either, or from writing, goes through unchanged.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from holdfast.comfyui.standin.mp4 import mux_jpegs
from holdfast.comfyui.standin.node import NodeClass, NodeContext, NodeOutput
from holdfast.comfyui.standin.nodes.naming import SavePlace, save_place
from holdfast.comfyui.standin.nodes.pixels import to_image
from holdfast.comfyui.standin.nodes.specs import choice, combo, integer, noted, number
from holdfast.comfyui.standin.nodes.values import Video
from holdfast.comfyui.standin.painter import Pixels

SOFTWARE: Final = "Holdfast stand-in (no model was run)"
"""Stands in every file under `Software`, so that no picture passes for a model's."""

_EXIF_MODEL, _EXIF_MAKE, _EXIF_SOFTWARE = 0x0110, 0x010F, 0x0131
_JPEG_QUALITY: Final = 90
_WEBP_METHODS: Final = {"default": 4, "fastest": 0, "slowest": 6}
_PREFIX: Final = ("STRING", {"default": "ComfyUI"})
_HIDDEN: Final = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}


def _metadata(context: NodeContext) -> Iterator[tuple[str, str]]:
    """Yield names and JSON texts: the prompt, then what the client sent beside it."""
    yield "prompt", json.dumps(dict(context.prompt))
    for name, value in (context.extra_pnginfo or {}).items():
        yield name, json.dumps(value)


def _place(context: NodeContext, root: Path, prefix: str, pictures: Pixels) -> SavePlace:
    _, height, width, _ = pictures.shape
    return save_place(root, prefix, width=width, height=height, prompt=context.prompt)


def _write(context: NodeContext, path: Path, content: bytes) -> None:
    context.before_save(path)
    path.write_bytes(content)
    context.after_save(path)


def _entry(place: SavePlace, name: str, kind: str = "output") -> dict[str, str]:
    return {"filename": name, "subfolder": place.subfolder, "type": kind}


def _save_pngs(
    context: NodeContext, images: Pixels, place: SavePlace, *, kind: str, compress_level: int
) -> NodeOutput:
    notes = PngInfo()
    for name, text in _metadata(context):
        notes.add_text(name, text)
    notes.add_text("Software", SOFTWARE)
    entries = []
    for index, picture in enumerate(images):
        name = place.file(index, ".png")
        content = io.BytesIO()
        to_image(picture).save(content, "PNG", pnginfo=notes, compress_level=compress_level)
        _write(context, place.folder / name, content.getvalue())
        entries.append(_entry(place, name, kind))
    return NodeOutput(ui={"images": entries})


def save_image(
    context: NodeContext, *, images: Pixels, filename_prefix: str = "ComfyUI"
) -> NodeOutput:
    """Write each picture to the output folder as a PNG."""
    place = _place(context, context.folders.output, filename_prefix, images)
    return _save_pngs(context, images, place, kind="output", compress_level=4)


def preview_image(context: NodeContext, *, images: Pixels) -> NodeOutput:
    """Write each picture to the temporary folder as a PNG."""
    place = _place(context, context.folders.temp, context.temp_prefix, images)
    return _save_pngs(context, images, place, kind="temp", compress_level=1)


def save_animated_webp(
    context: NodeContext,
    *,
    images: Pixels,
    filename_prefix: str,
    fps: float,
    lossless: bool,
    quality: int,
    method: str,
) -> NodeOutput:
    """Write all pictures as one animated WebP; metadata goes into EXIF texts."""
    place = _place(context, context.folders.output, filename_prefix, images)
    frames = [to_image(picture) for picture in images]
    exif = frames[0].getexif()
    (_, prompt), *extras = _metadata(context)
    exif[_EXIF_MODEL] = f"prompt:{prompt}"
    exif[_EXIF_SOFTWARE] = SOFTWARE
    for offset, (name, text) in enumerate(extras):
        exif[_EXIF_MAKE - offset] = f"{name}:{text}"
    options = {
        "exif": exif,
        "lossless": lossless,
        "quality": quality,
        "method": _WEBP_METHODS[method],
    }
    content = _animation(frames, "WEBP", fps, options)
    return _save_animated(context, place, ".webp", content, animated=len(frames) > 1)


def save_animated_png(
    context: NodeContext, *, images: Pixels, filename_prefix: str, fps: float, compress_level: int
) -> NodeOutput:
    """Write all pictures as one animated PNG; metadata goes into ``comf`` chunks after them."""
    place = _place(context, context.folders.output, filename_prefix, images)
    notes = PngInfo()
    notes.add_text("Software", SOFTWARE)
    for name, text in _metadata(context):
        chunk = name.encode("latin-1", "replace") + b"\0" + text.encode("latin-1")
        notes.add(b"comf", chunk, after_idat=True)
    frames = [to_image(picture) for picture in images]
    options = {"pnginfo": notes, "compress_level": compress_level}
    content = _animation(frames, "PNG", fps, options)
    return _save_animated(context, place, ".png", content)


def show_images(context: NodeContext, *, images: Pixels) -> NodeOutput:
    """Send each picture over the socket, whole; nothing is written, nothing is listed."""
    for index, picture in enumerate(images):
        context.progress(index, len(images), to_image(picture), whole=True)
    return NodeOutput()


def _animation(frames: list[Image.Image], kind: str, fps: float, options: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    frames[0].save(
        content,
        kind,
        save_all=True,
        append_images=frames[1:],
        duration=int(1000 / fps),
        **options,
    )
    return content.getvalue()


def _save_animated(
    context: NodeContext, place: SavePlace, suffix: str, content: bytes, *, animated: bool = True
) -> NodeOutput:
    name = place.file(0, suffix)
    _write(context, place.folder / name, content)
    return NodeOutput(ui={"images": [_entry(place, name)], "animated": [animated]})


def create_video(_context: NodeContext, *, images: Pixels, fps: float, **_sound: Any) -> NodeOutput:
    """Make a video of pictures; sound is dropped."""
    return NodeOutput((Video(images, fps),))


def save_video(
    context: NodeContext, *, video: Video, filename_prefix: str, **_format: Any
) -> NodeOutput:
    """Write a video as MP4.

    Whatever codec is asked for, the file holds Motion JPEG: this process has no
    H.264 encoder, and a file that plays is worth more than one that claims to.
    """
    place = _place(context, context.folders.output, filename_prefix, video.pictures)
    frames = []
    for picture in video.pictures:
        content = io.BytesIO()
        to_image(picture).save(content, "JPEG", quality=_JPEG_QUALITY)
        frames.append(content.getvalue())
    _, height, width, _ = video.pictures.shape
    text = dict(_metadata(context)) | {"Software": SOFTWARE}
    file = mux_jpegs(frames, width=width, height=height, fps=video.fps, text=text)
    return _save_animated(context, place, ".mp4", file)


NODES: Final = (
    NodeClass(
        name="SaveImage",
        run=save_image,
        required={"images": noted("IMAGE"), "filename_prefix": _PREFIX},
        hidden=_HIDDEN,
        output_node=True,
        display_name="Save Image",
        category="image",
        description="Writes pictures into the output folder.",
    ),
    NodeClass(
        name="PreviewImage",
        run=preview_image,
        required={"images": ("IMAGE",)},
        hidden=_HIDDEN,
        output_node=True,
        display_name="Preview Image",
        category="image",
        description="Writes pictures into the temporary folder, to be looked at.",
    ),
    NodeClass(
        name="SaveImageWebsocket",
        run=show_images,
        required={"images": ("IMAGE",)},
        output_node=True,
        category="api/image",
        python_module="custom_nodes.websocket_image_save",
        fingerprint=lambda _files, _inputs: uuid.uuid4().hex,
    ),
    NodeClass(
        name="SaveAnimatedWEBP",
        run=save_animated_webp,
        required={
            "images": ("IMAGE",),
            "filename_prefix": _PREFIX,
            "fps": number(6.0, 0.01, 1000.0, 0.01),
            "lossless": ("BOOLEAN", {"default": True}),
            "quality": integer(80, 0, 100),
            "method": choice(*_WEBP_METHODS),
        },
        hidden=_HIDDEN,
        output_node=True,
        display_name="SaveAnimatedWEBP",
        category="image/animation",
        python_module="comfy_extras.nodes_images",
    ),
    NodeClass(
        name="SaveAnimatedPNG",
        run=save_animated_png,
        required={
            "images": ("IMAGE",),
            "filename_prefix": _PREFIX,
            "fps": number(6.0, 0.01, 1000.0, 0.01),
            "compress_level": integer(4, 0, 9),
        },
        hidden=_HIDDEN,
        output_node=True,
        display_name="SaveAnimatedPNG",
        category="image/animation",
        python_module="comfy_extras.nodes_images",
    ),
    NodeClass(
        name="CreateVideo",
        run=create_video,
        required={"images": ("IMAGE",), "fps": number(30.0, 1.0, 120.0, 1.0)},
        optional={"audio": ("AUDIO",)},
        outputs=("VIDEO",),
        display_name="Create Video",
        category="image/video",
        description="Makes a video of pictures.",
        python_module="comfy_extras.nodes_video",
        modern=True,
    ),
    NodeClass(
        name="SaveVideo",
        run=save_video,
        required={
            "video": ("VIDEO",),
            "filename_prefix": ("STRING", {"default": "video/ComfyUI", "multiline": False}),
            "format": combo("auto", "mp4", default="auto"),
            "codec": combo("auto", "h264", default="auto"),
        },
        hidden=_HIDDEN,
        output_node=True,
        display_name="Save Video",
        category="image/video",
        description="Writes a video into the output folder.",
        python_module="comfy_extras.nodes_video",
        modern=True,
    ),
)
"""The classes of this module."""
