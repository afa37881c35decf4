"""`ImageEngine`: say what should be seen, get pictures.

`SyncImageEngine` is the same for plain code.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from holdfast.comfyui.engines.engine import Bounds, Engine, OnPreview, OnProgress
from holdfast.comfyui.engines.made import ImageResult
from holdfast.comfyui.engines.picture import Picture
from holdfast.comfyui.engines.sync import SyncEngine
from holdfast.comfyui.engines.wish import loras_of


class ImageEngine(Engine[ImageResult]):
    """Pictures from words. Use as ``async with ImageEngine(url, ...) as engine``.

    Args:
        urls: server addresses, such as ``http://gpu1:8188``.
        family: ``sd15``, ``sdxl``, ``sdxl-refiner``, ``flux``, ``sd3``, or one recipe of them
            such as ``flux-schnell``; None: the best one the servers have the files for.
        models: file names by role, such as ``{"checkpoint": "mine.safetensors"}``; a list of
            names takes the first that is there. What is not named is found by its name.
        ladder: rungs to go down when the best cannot be made; None: the family's own.
        degradation: a service whose level says on which rung to begin, and that hears how
            each call went.
        on_event: called with every `events.Event`.
        options: the rest is `ComfyUI`'s: ``output_dir``, ``patience``, ``limits``, ...

    Raises:
        BadInputError: naming the argument, its value and what is right.
    """

    kind: ClassVar[Literal["image", "video"]] = "image"

    @classmethod
    def open(cls, *urls: str, **settings: Any) -> SyncImageEngine:
        """The same for plain code: ``with ImageEngine.open(url) as engine``."""
        return SyncImageEngine(*urls, **settings)

    async def generate(
        self,
        prompt: str,
        *,
        negative: str | None = None,
        width: int | None = None,
        height: int | None = None,
        steps: int | None = None,
        cfg: float | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        batch: int = 1,
        sampler: str | None = None,
        scheduler: str | None = None,
        image: Picture | None = None,
        denoise: float | None = None,
        loras: Iterable[Any] = (),
        name: str | None = None,
        output_dir: str | Path | None = None,
        deadline: float | None = None,
        strict: bool = False,
        on_progress: OnProgress | None = None,
        on_preview: OnPreview | None = None,
    ) -> ImageResult:
        """Make pictures, whatever the servers do. None everywhere means: as the family likes it.

        Args:
            prompt: what should be seen.
            negative: what should not.
            width: pixels; brought onto the family's grid.
            height: pixels; brought onto the family's grid.
            steps: sampling steps.
            cfg: how firmly to follow the prompt.
            guidance: the same for models that have it built in, such as Flux.
            seed: a whole number that gives the same picture again; None draws one.
            batch: how many pictures, 1 to 64.
            sampler: such as ``euler``.
            scheduler: such as ``normal``.
            image: a picture to start from: a path, bytes or a Pillow image.
            denoise: how much of it may change, above 0 to 1.
            loras: names, ``(name, strength)`` or `Lora`.
            name: what to call the job and its files.
            output_dir: where files go; None: as given to the constructor.
            deadline: seconds for everything, waiting, retries and lower rungs included.
            strict: no lower rung, no other size: exactly this, or an error.
            on_progress: called with a share that never falls, and words.
            on_preview: called with pictures of the work in progress; needs ``previews=True``.

        Raises:
            BadInputError: naming the argument, its value and what is right.
            ComfyUIError: it could not be made on any rung; it carries every attempt.
        """
        wanted = {
            "prompt": prompt,
            "negative": negative,
            "width": width,
            "height": height,
            "steps": steps,
            "cfg": cfg,
            "guidance": guidance,
            "seed": seed,
            "batch": batch,
            "sampler": sampler,
            "scheduler": scheduler,
            "denoise": denoise,
            "loras": loras_of(loras),
        }
        bounds = Bounds(name, output_dir, deadline, strict, on_progress, on_preview)
        made = await self._make(wanted, image, bounds)
        return ImageResult(**made.told())


class SyncImageEngine(SyncEngine[ImageResult]):
    """`ImageEngine` for plain code: ``with SyncImageEngine(url, ...) as engine``.

    Takes what `ImageEngine` takes. Callbacks are called in a thread of the engine's own.
    """

    engine_class = ImageEngine
