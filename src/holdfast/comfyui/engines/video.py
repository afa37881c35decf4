"""`VideoEngine`: say what should happen, get a clip.

`SyncVideoEngine` is the same for plain code.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

from holdfast.comfyui.engines.engine import Bounds, Engine, OnPreview, OnProgress
from holdfast.comfyui.engines.made import VideoResult
from holdfast.comfyui.engines.picture import Picture
from holdfast.comfyui.engines.sync import SyncEngine
from holdfast.comfyui.engines.wish import loras_of


class VideoEngine(Engine[VideoResult]):
    """Clips from words, or from words and a first picture.

    Use as ``async with VideoEngine(url, ...) as engine``.

    Args:
        urls: server addresses, such as ``http://gpu1:8188``.
        family: ``wan2.2``, ``wan2.1``, ``hunyuan``, ``ltxv``, or one recipe of them such as
            ``wan2.2-5b``; None: the best one the servers have the files for.
        models: file names by role, such as ``{"vae": "mine.safetensors"}``; a list of names
            takes the first that is there. What is not named is found by its name.
        ladder: rungs to go down when the best cannot be made; None: the family's own.
        degradation: a service whose level says on which rung to begin, and that hears how
            each call went.
        on_event: called with every `events.Event`.
        options: the rest is `ComfyUI`'s: ``output_dir``, ``patience``, ``limits``, ...

    Raises:
        BadInputError: naming the argument, its value and what is right.
    """

    kind: ClassVar[Literal["image", "video"]] = "video"

    @classmethod
    def open(cls, *urls: str, **settings: Any) -> SyncVideoEngine:
        """The same for plain code: ``with VideoEngine.open(url) as engine``."""
        return SyncVideoEngine(*urls, **settings)

    async def generate(
        self,
        prompt: str,
        *,
        seconds: float | None = None,
        frames: int | None = None,
        fps: float | None = None,
        negative: str | None = None,
        width: int | None = None,
        height: int | None = None,
        steps: int | None = None,
        cfg: float | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        sampler: str | None = None,
        scheduler: str | None = None,
        image: Picture | None = None,
        loras: Iterable[Any] = (),
        name: str | None = None,
        output_dir: str | Path | None = None,
        deadline: float | None = None,
        strict: bool = False,
        on_progress: OnProgress | None = None,
        on_preview: OnPreview | None = None,
    ) -> VideoResult:
        """Make a clip, whatever the servers do. None everywhere means: as the family likes it.

        Args:
            prompt: what should happen.
            seconds: how long; or give ``frames``.
            frames: how many pictures; brought onto the family's grid.
            fps: frames a second, 1 to 120.
            negative: what should not be seen.
            width: pixels; brought onto the family's grid.
            height: pixels; brought onto the family's grid.
            steps: sampling steps.
            cfg: how firmly to follow the prompt.
            guidance: the same for models that have it built in, such as HunyuanVideo.
            seed: a whole number that gives the same clip again; None draws one.
            sampler: such as ``euler``.
            scheduler: such as ``simple``.
            image: the first picture: a path, bytes or a Pillow image.
            loras: names, ``(name, strength)`` or `Lora`.
            name: what to call the job and its files.
            output_dir: where files go; None: as given to the constructor.
            deadline: seconds for everything, waiting, retries and lower rungs included.
            strict: no lower rung, no other size or length: exactly this, or an error.
            on_progress: called with a share that never falls, and words.
            on_preview: called with pictures of the work in progress; needs ``previews=True``.

        Raises:
            BadInputError: naming the argument, its value and what is right.
            ComfyUIError: it could not be made on any rung; it carries every attempt.
        """
        wanted = {
            "prompt": prompt,
            "seconds": seconds,
            "frames": frames,
            "fps": fps,
            "negative": negative,
            "width": width,
            "height": height,
            "steps": steps,
            "cfg": cfg,
            "guidance": guidance,
            "seed": seed,
            "sampler": sampler,
            "scheduler": scheduler,
            "loras": loras_of(loras),
        }
        bounds = Bounds(name, output_dir, deadline, strict, on_progress, on_preview)
        made = await self._make(wanted, image, bounds)
        settings = made.arrival.plan.choice.settings
        return VideoResult(**made.told(), frames=settings.frames, fps=settings.fps)


class SyncVideoEngine(SyncEngine[VideoResult]):
    """`VideoEngine` for plain code: ``with SyncVideoEngine(url, ...) as engine``.

    Takes what `VideoEngine` takes. Callbacks are called in a thread of the engine's own.
    """

    engine_class = VideoEngine
