"""What faults do to a running node.

One `Sabotage` accompanies one execution of one node. It tells the script where
the node is, and does to the node, to its files or to the whole server what the
script answers. Called in the worker thread.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from holdfast.comfyui.standin.faults import WHOLE_PROCESS, Fault
from holdfast.comfyui.standin.memory import cpu_out_of_memory, cuda_out_of_memory, device_error
from holdfast.comfyui.standin.node import Blocked, NodeError
from holdfast.comfyui.standin.script import Point

if TYPE_CHECKING:
    from holdfast.comfyui.standin.life import Life

ASKED_FOR = 8 * 1024**3
"""Bytes that an out-of-memory fault claims were asked for."""


class Sabotage:
    """The misfortunes of one execution of one node."""

    def __init__(self, life: Life, job: int, node: str, inputs: Mapping[str, Any]) -> None:
        self._life = life
        self._job = job
        self._node = node
        self._pixels = pixels_of(inputs) if life.script.weighs_pixels() else 0
        self._steps = 0

    def at_start(self) -> None:
        """The node is about to run."""
        self._ask("node")

    def at_step(self, step: int) -> None:
        """The node has reported ``step`` steps."""
        self._steps = step
        self._ask("step")

    def before_save(self, path: Path) -> None:
        """A file is about to be written."""
        self._life.pulse.beat()
        for _ in self._faults("before_save", path.name):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def after_save(self, path: Path) -> None:
        """A file was written."""
        for fault in self._faults("after_save", path.name):
            if fault.kind == "missing_file":
                path.unlink(missing_ok=True)
            elif fault.kind == "black_picture":
                _blacken(path)
            elif path.is_file():
                os.truncate(path, path.stat().st_size // 2)

    def _faults(self, place: str, file: str = "") -> tuple[Fault, ...]:
        point = Point(
            place=place,
            now=self._life.now(),
            job=self._job,
            node=self._node,
            step=self._steps,
            pixels=self._pixels,
            file=file,
        )
        return self._life.script.happens(point)

    def _ask(self, place: str) -> None:
        for fault in self._faults(place):
            if fault.kind in WHOLE_PROCESS:
                self._life.suffer(fault)
                self._life.pulse.beat()
            elif fault.kind == "interrupted":
                self._life.interrupt.set()
            elif fault.kind == "dead_worker":
                raise SystemExit
            else:
                raise self._error(fault)

    def _error(self, fault: Fault) -> Exception:
        words = fault.message
        if fault.kind == "block":
            return Blocked(*([] if words is None else [words]))
        if fault.kind == "broken_device":
            self._life.memory.broken = True
            return device_error()
        if fault.kind == "empty_error":
            return NodeError(fault.exception_type, "")
        if fault.kind == "huge_error":
            return NodeError(fault.exception_type, "x" * fault.bytes)
        if fault.kind == "out_of_memory":
            memory = self._life.memory
            if self._life.config.device == "cpu":
                error = cpu_out_of_memory(ASKED_FOR)
            else:
                free = min(memory.free, ASKED_FOR // 8)
                error = cuda_out_of_memory(ASKED_FOR, total=memory.total, free=free)
            return NodeError(error.exception_type, error.message if words is None else words)
        return NodeError(fault.exception_type, words or f"{self._node} failed on purpose")


def _blacken(path: Path) -> None:
    if path.suffix.lower() not in {".png", ".webp"}:
        return
    with Image.open(path) as picture:
        size, form = picture.size, picture.format
    Image.new("RGB", size).save(path, form)


def pixels_of(inputs: Mapping[str, Any]) -> int:
    """Pixels a node works on: the most that its sizes or any one input amount to."""
    own = _area(inputs.get)
    return max([own, *(size for value in inputs.values() for size in _sizes(value))])


def _sizes(value: Any) -> Iterator[int]:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and len(shape) in {3, 4}:
        batch, height, width = shape[:3]
        yield int(batch) * int(height) * int(width)
    elif not isinstance(value, str | int | float | bool | None):
        yield _area(lambda name: getattr(value, name, None))


def _area(size: Any) -> int:
    """Return width x height x how many, as far as these are known whole numbers."""

    def number(*names: str) -> int | None:
        found = (size(name) for name in names)
        return next((value for value in found if type(value) is int and value > 0), None)

    width, height = number("width"), number("height")
    if width is None or height is None:
        return 0
    batch = number("batch_size", "batch") or 1
    frames = number("frames", "length", "num_frames") or 1
    return width * height * batch * frames
