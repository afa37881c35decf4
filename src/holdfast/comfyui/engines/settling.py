"""From a wish, a recipe and a rung to settings in which nothing is open. Pure.

Whatever is not exactly as asked is said, in words for people: what was changed
(`Settled.changed`), and what had no effect (`Settled.notes`).
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.comfyui.engines.ladders import Rung
from holdfast.comfyui.engines.recipe import Recipe, Settings
from holdfast.comfyui.engines.wish import Wish

IMAGE_NAME = "holdfast.png"
"""Stands in a workflow for the picture given, until it is uploaded."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Settings, and the account of them."""

    settings: Settings
    changed: tuple[str, ...] = ()
    """What is not as asked."""
    notes: tuple[str, ...] = ()
    """What was asked and has no effect, or was filled in and may surprise."""


def settle(wish: Wish, recipe: Recipe, rung: Rung, *, home: str) -> Settled:
    """Fill in what is open and bring the rest within what the recipe can make.

    Args:
        wish: what is asked.
        recipe: what makes it.
        rung: how much it gives.
        home: the family the wish was meant for: settings that mean something to one family only
            do not follow to another.
    """
    return _Settling(wish, recipe, rung, home).settled()


class _Settling:
    def __init__(self, wish: Wish, recipe: Recipe, rung: Rung, home: str) -> None:
        self.wish, self.recipe, self.rung = wish, recipe, rung
        self.at_home = recipe.family == home
        self.changed: list[str] = []
        self.notes: list[str] = []

    def settled(self) -> Settled:
        wish, recipe = self.wish, self.recipe
        width, height = self._size()
        self._say_what_does_not_follow()
        cfg = self._own(wish.cfg, recipe.cfg)
        settings = Settings(
            prompt=wish.prompt,
            seed=wish.seed,
            negative=self._negative(cfg),
            width=width,
            height=height,
            batch=wish.batch,
            steps=self._steps(),
            cfg=cfg,
            guidance=self._guidance(),
            shift=recipe.shift,
            sampler=wish.sampler if self.at_home and wish.sampler else recipe.sampler,
            scheduler=wish.scheduler if self.at_home and wish.scheduler else recipe.scheduler,
            denoise=self._denoise(),
            loras=wish.loras if self.at_home else (),
            image=None if wish.picture is None else IMAGE_NAME,
            frames=self._frames(),
            fps=self._fps(),
            weights=self.rung.weights,
        )
        return Settled(settings, tuple(self.changed), tuple(self.notes))

    def _own(self, asked: float | None, own: float) -> float:
        return asked if asked is not None and self.at_home else own

    # Size --------------------------------------------------------------------------------

    def _size(self) -> tuple[int, int]:
        recipe, wish, grid = self.recipe, self.wish, self.recipe.grid
        asked = self._asked_size()
        if wish.width is None and wish.height is None:
            width, height = round(asked[0]), round(asked[1])
        else:
            width, height = grid.snap_side(asked[0]), grid.snap_side(asked[1])
            for name, was, now in (
                ("width", wish.width, width),
                ("height", wish.height, height),
            ):
                if was is not None and was != now:
                    self.changed.append(
                        f"{name}: {was} pixels became {now}, because {recipe.name} makes multiples "
                        f"of {grid.side} from {grid.snap_side(0)}"
                    )
        most = self.rung.pixels
        if most is not None and width * height > most:
            small = grid.fit(width, height, most, exact=wish.picture is not None)
            self.changed.append(
                f"size: {width} x {height} pixels became {small[0]} x {small[1]} "
                f"on rung {self.rung.name}"
            )
            width, height = small
        return width, height

    def _asked_size(self) -> tuple[float, float]:
        """As asked; what is open follows the picture given, or the model's own size."""
        wish, recipe = self.wish, self.recipe
        like = wish.picture or (recipe.width, recipe.height)
        if wish.width is not None and wish.height is not None:
            return wish.width, wish.height
        if wish.width is not None:
            return wish.width, wish.width * like[1] / like[0]
        if wish.height is not None:
            return wish.height * like[0] / like[1], wish.height
        if wish.picture is None:
            return recipe.width, recipe.height
        # Of a picture given, as little as can be is cut off.
        return recipe.grid.fit(*wish.picture, recipe.width * recipe.height, exact=True)

    # Steps and strengths -----------------------------------------------------------------

    def _say_what_does_not_follow(self) -> None:
        wish, recipe = self.wish, self.recipe
        if self.at_home:
            if wish.guidance is not None and recipe.guidance is None:
                self.notes.append(f"guidance has no effect: {recipe.name} has none built in")
            if wish.cfg is not None and not recipe.has_cfg:
                self.notes.append(f"cfg has no effect on {recipe.name}")
            return
        own = ("steps", "cfg", "guidance", "sampler", "scheduler")
        given = [name for name in own if getattr(wish, name) is not None]
        if given:
            self.changed.append(f"{', '.join(given)}: as {recipe.name} needs them, not as asked")
        if wish.loras:
            names = ", ".join(each.name for each in wish.loras)
            self.changed.append(f"left out, because they fit another family: {names}")

    def _guidance(self) -> float | None:
        own = self.recipe.guidance
        return None if own is None else self._own(self.wish.guidance, own)

    def _steps(self) -> int:
        wish, recipe = self.wish, self.recipe
        asked = wish.steps is not None and self.at_home
        steps = wish.steps if asked and wish.steps is not None else recipe.steps
        most = self.rung.steps
        if most is not None and steps > most:
            self.changed.append(f"steps: {steps} became {most} on rung {self.rung.name}")
            return most
        return steps

    def _negative(self, cfg: float) -> str:
        wish, recipe = self.wish, self.recipe
        if wish.negative is None:
            return recipe.negative
        heard = recipe.has_cfg and (recipe.reads_negative or cfg > 1)
        if wish.negative.strip() and not heard:
            self.notes.append(f"the negative prompt has no effect on {recipe.name} at its cfg of 1")
        return wish.negative

    def _denoise(self) -> float:
        wish = self.wish
        if wish.picture is None:
            return 1.0
        if self.recipe.kind == "video":
            return 1.0
        return self.recipe.denoise if wish.denoise is None else wish.denoise

    # Time --------------------------------------------------------------------------------

    def _fps(self) -> float:
        wish, recipe = self.wish, self.recipe
        if wish.fps is not None and wish.fps != recipe.fps and recipe.kind == "video":
            self.notes.append(
                f"{recipe.name} was made for {recipe.fps:g} frames a second: "
                f"at {wish.fps:g} things may move at another speed"
            )
        return float(recipe.fps if wish.fps is None else wish.fps)

    def _frames(self) -> int:
        wish, recipe, grid = self.wish, self.recipe, self.recipe.grid
        if recipe.kind == "image":
            return 1
        fps = recipe.fps if wish.fps is None else wish.fps
        if wish.seconds is not None:
            frames = grid.snap_frames(wish.seconds * fps)
            if abs(frames / fps - wish.seconds) > 1 / fps:
                self.changed.append(
                    f"length: {wish.seconds:g} s became {frames / fps:.3g} s ({frames} frames), "
                    f"because {recipe.name} makes {self._lengths()}"
                )
        elif wish.frames is not None:
            frames = grid.snap_frames(wish.frames)
            if frames != wish.frames:
                self.changed.append(
                    f"frames: {wish.frames} became {frames}, because {recipe.name} makes "
                    f"{self._lengths()}"
                )
        else:
            frames = recipe.frames
        most = self.rung.frames
        if most is not None and frames > most:
            fewer = grid.cut_frames(frames, most)
            self.changed.append(
                f"frames: {frames} became {fewer} ({fewer / fps:.3g} s) on rung {self.rung.name}"
            )
            return fewer
        return frames

    def _lengths(self) -> str:
        grid = self.recipe.grid
        return f"{grid.stride}n+1 frames from {grid.fewest}"
