"""Graphics memory: what is resident, what is evicted, and when it is not enough.

Pure arithmetic over byte counts; nothing is allocated. The figures are chosen
so that well-known cases come out as they do on real cards (see the formulas),
not measured.

- Models stay resident until something evicts them: a `load` that needs their
  room, a `work` that may evict, `unload_all`, or (on a graphics card) an
  out-of-memory error, after which a real server unloads everything itself.
- The driver and libraries keep `RUNTIME_SHARE` of a graphics card for themselves.
- Sizes are bytes, sides are pixels. Every method may be called from any thread.

A real server decodes again in tiles by itself when a decode runs out of memory;
this one lets the error out, because that is the case a client must handle on
servers whose second try fails as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from threading import Lock
from typing import Final, Literal

from holdfast.comfyui.standin.node import NodeError

MIB: Final = 1024**2
GIB: Final = 1024**3

RUNTIME_SHARE: Final = 1 / 24
"""Part of a graphics card that models and activations can never have."""

HOST_ARRAY_LIMIT: Final = 2 * GIB
"""Largest single array (bytes) this process makes; more is refused as a full server would."""

SAMPLING_BYTES_PER_TOKEN: Final = 128 * 1024
"""Activations of one diffusion step for each token (16 x 16 pixels of one latent frame)."""

DECODE_BYTES_PER_PIXEL: Final = 1024
"""Activations of a VAE decode for each pixel of the first frame."""

DECODE_FRAME_SHARE: Final = 1 / 16
"""What each further frame costs beside the first: video VAEs decode in chunks."""

_GUESSES: Final[tuple[tuple[str, float], ...]] = (
    # Searched in order, in lower-case names; bytes as stored at 16 bits.
    (r"taesd|pixel_space", 10e6),
    (r"umt5", 11.4e9),
    (r"t5", 9.8e9),
    (r"clip_?g", 1.4e9),
    (r"clip_?[lh]", 0.25e9),
    (r"llama|qwen.*vl", 16e9),
    (r"gemma", 5.2e9),
    (r"vae|(^|/)ae\.", 0.3e9),
    (r"esrgan|swinir|ultrasharp|realesr|upscal", 67e6),
    (r"lora|lightning|lightx2v|hyper-sd", 0.2e9),
    (r"wan.*14b|wan2.?[12].*(high|low)_noise", 28e9),
    (r"wan.*1.?3b", 2.8e9),
    (r"wan.*5b", 10e9),
    (r"wan", 28e9),
    (r"hunyuan", 26e9),
    (r"ltx.*13b", 26e9),
    (r"ltx", 6e9),
    (r"mochi", 20e9),
    (r"cosmos", 14e9),
    (r"qwen", 41e9),
    (r"flux|chroma", 23.8e9),
    (r"hidream", 34e9),
    (r"sd3.*large", 16e9),
    (r"sd3", 5e9),
    (r"xl|pony|illustrious|noobai", 6.94e9),
    (r"sd_?1|v1-5|1\.5|dreamshaper|realistic", 2.13e9),
)
_FOLDER_DEFAULTS: Final = {"loras": 0.2e9, "vae": 0.3e9, "upscale_models": 67e6}
_PRECISIONS: Final = ((r"fp32", 2.0), (r"fp8|q8|int8", 0.5), (r"q4|nf4|int4|fp4", 0.3))


def guess_bytes(name: str, folder: str = "checkpoints") -> int:
    """Guess a model's size in bytes from its file name.

    A known family comes first, then a parameter count such as ``7b`` (2 bytes
    each), then the folder's usual size, then 2 GiB. A precision in the name
    scales the first two: fp32 doubles, fp8 halves, 4 bits leave three tenths.
    """
    text = name.lower()
    size = next((size for pattern, size in _GUESSES if re.search(pattern, text)), None)
    if size is None and (count := re.search(r"(?<![\d.])(\d+(?:\.\d+)?)b(?![a-z0-9])", text)):
        size = float(count[1]) * 2e9
    if size is None:
        return round(_FOLDER_DEFAULTS.get(folder, 2 * GIB))
    scale = next((scale for pattern, scale in _PRECISIONS if re.search(pattern, text)), 1.0)
    return max(1, round(size * scale))


def weights_key(folder: str, name: str, part: str) -> str:
    """Name a part of a model file to the memory: ``checkpoints/sdxl.safetensors#model``."""
    return f"{folder}/{name}#{part}"


def sampling_bytes(tokens: int) -> int:
    """Bytes of activations while sampling `tokens` latent tokens (batch and frames included)."""
    return tokens * SAMPLING_BYTES_PER_TOKEN


def decode_bytes(width: int, height: int, *, frames: int = 1, batch: int = 1) -> int:
    """Bytes of activations while a VAE decodes ``batch`` clips of ``frames`` in one go.

    ``width * height * batch * (1 + (frames - 1) / 16) * 1024``: 1 GiB for one
    picture of 1024 x 1024, 4 GiB for 2048 x 2048.
    """
    frames_cost = 1 + (frames - 1) * DECODE_FRAME_SHARE
    return round(width * height * batch * frames_cost * DECODE_BYTES_PER_PIXEL)


def require_host(size: int) -> None:
    """Refuse an array of more than `HOST_ARRAY_LIMIT` bytes the way PyTorch does on the CPU.

    Raises:
        NodeError: a ``RuntimeError`` with the text of PyTorch's CPU allocator.
    """
    if size > HOST_ARRAY_LIMIT:
        raise cpu_out_of_memory(size)


def cpu_out_of_memory(size: int) -> NodeError:
    """Make the error of a CPU allocation of `size` bytes that failed."""
    return NodeError(
        "RuntimeError",
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
        f"memory: you tried to allocate {size} bytes. Error code 12 (Cannot allocate memory)",
    )


def cuda_out_of_memory(size: int, *, total: int, free: int) -> NodeError:
    """Make the error of a CUDA allocation that failed, without ComfyUI's own tip after it."""
    in_use = total - free
    cached = min(in_use // 50, 512 * MIB)
    return NodeError(
        "torch.OutOfMemoryError",
        f"CUDA out of memory. Tried to allocate {_amount(size)}. "
        f"GPU 0 has a total capacity of {_amount(total)} of which {_amount(free)} is free. "
        f"Including non-PyTorch memory, this process has {_amount(in_use)} memory in use. "
        f"Of the allocated memory {_amount(in_use - cached)} is allocated by PyTorch, and "
        f"{_amount(cached)} is reserved by PyTorch but unallocated. "
        "If reserved but unallocated memory is large try setting "
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  "
        "See documentation for Memory Management  "
        "(https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)",
    )


def device_error() -> NodeError:
    """Make the error of a device after which nothing works in the process any more."""
    return NodeError(
        "torch.AcceleratorError",
        "CUDA error: an illegal memory access was encountered\n"
        "CUDA kernel errors might be asynchronously reported at some other API call, so the "
        "stacktrace below might be incorrect.\n"
        "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
        "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n",
    )


def _amount(size: int) -> str:
    if size >= GIB:
        return f"{size / GIB:.2f} GiB"
    return f"{size / MIB:.2f} MiB" if size >= MIB else f"{size / 1024:.2f} KiB"


class GraphicsMemory:
    """The memory models and activations share: a graphics card's, or the machine's own.

    Args:
        total_bytes: What the device has in all.
        kind: ``cuda`` raises PyTorch's GPU error and then unloads everything;
            ``cpu`` raises the CPU allocator's error and unloads nothing.
        sizes: True sizes of model files (bytes) by name. A node asks for what
            `guess_bytes` makes it expect; where a file's size is given here, the
            request is scaled by how far that guess was off.
    """

    def __init__(
        self,
        total_bytes: int,
        *,
        kind: Literal["cuda", "cpu"] = "cuda",
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        if total_bytes <= 0:
            raise ValueError(f"need total_bytes > 0, got {total_bytes}")
        self.kind = kind
        self.total = total_bytes
        self.broken = False
        """Whether every use of the device fails from now on, as after an illegal access."""
        self._runtime = round(total_bytes * RUNTIME_SHARE) if kind == "cuda" else 0
        self._sizes = dict(sizes or {})
        self._resident: dict[str, int] = {}  # oldest use first
        self._lock = Lock()

    @property
    def used(self) -> int:
        """Bytes of resident models and of what the runtime keeps."""
        with self._lock:
            return self._used()

    @property
    def free(self) -> int:
        """Bytes neither models nor the runtime hold; `used` and this make `total`."""
        with self._lock:
            return self.total - self._used()

    @property
    def resident(self) -> tuple[str, ...]:
        """Keys of the resident models, the one used longest ago first."""
        with self._lock:
            return tuple(self._resident)

    def unload_all(self) -> None:
        """Drop every model, as ``POST /free {unload_models: true}`` does."""
        with self._lock:
            self._resident.clear()

    def load(self, name: str, size: int) -> None:
        """Make a model resident, evicting those used longest ago while room is missing.

        A model that is resident already is not loaded twice; it may change size
        (a LoRA patched into it).

        Raises:
            NodeError: the model alone does not fit beside the runtime.
        """
        size = self._true_size(name, size)
        with self._lock:
            self._resident.pop(name, None)
            self._make_room(size, keep=frozenset())
            self._resident[name] = size

    def work(self, size: int, *, needs: tuple[str, ...] = (), evict: bool = True) -> None:
        """Check that `size` bytes of activations fit beside the models in `needs`.

        Nothing stays allocated afterwards. With ``evict=False`` all other models
        stay where they are too, so that this may fail where it would succeed
        once they were unloaded.

        Raises:
            NodeError: out of memory, in the form of this kind of device.
        """
        with self._lock:
            for name in needs:
                if name in self._resident:
                    self._resident[name] = self._resident.pop(name)
            keep = frozenset(needs) if evict else frozenset(self._resident)
            self._make_room(size, keep=keep)

    def _make_room(self, size: int, *, keep: frozenset[str]) -> None:
        if self.broken:
            raise device_error()
        kept = sum(held for name, held in self._resident.items() if name in keep)
        if size > self.total - self._runtime - kept:
            raise self._out_of_memory(size)
        for name in [name for name in self._resident if name not in keep]:
            if size <= self.total - self._used():
                break
            del self._resident[name]

    def _out_of_memory(self, size: int) -> NodeError:
        if self.kind == "cpu":
            return cpu_out_of_memory(size)
        error = cuda_out_of_memory(size, total=self.total, free=self.total - self._used())
        self._resident.clear()
        return error

    def _used(self) -> int:
        return self._runtime + sum(self._resident.values())

    def _true_size(self, key: str, size: int) -> int:
        file, has_part, _ = key.partition("#")
        folder, _, name = file.partition("/") if has_part else ("checkpoints", "", key)
        known = self._sizes.get(name)
        if known is None:
            return size
        return round(size * known / guess_bytes(name, folder)) if has_part else known
