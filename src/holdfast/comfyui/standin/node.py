"""What a node is to the stand-in server, and what a running node may touch.

This is the seam between the node classes (`nodes/`), which make pictures and
know nothing of sockets, and the worker (`executor.py`), which runs graphs and
knows nothing of pixels. Nothing here does I/O.

Values that travel along links:

- ``IMAGE``: ``numpy.float32`` array ``[batch, height, width, 3]`` in 0..1; with alpha, 4
- ``MASK``: ``numpy.float32`` array ``[batch, height, width]`` in 0..1
- everything else (``LATENT``, ``MODEL``, ``CLIP``, ``VAE``, ``CONDITIONING``,
  ``UPSCALE_MODEL``, ``VIDEO``) is a frozen dataclass of the node modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

InputSpec = tuple[Any, ...]
"""``("INT", {"default": 1, "min": 0, "max": 10})`` or ``(["a", "b"],)``, as in `object_info`."""


class NodeError(Exception):
    """A node failed, and a client must see it under the name a real server would use."""

    def __init__(self, exception_type: str, message: str) -> None:
        super().__init__(message)
        self.exception_type = exception_type
        """The full class name on the wire, such as ``torch.OutOfMemoryError``."""
        self.message = message


class Interrupted(Exception):  # noqa: N818 - the protocol's own word
    """The running prompt was asked to stop. Raised by `Progress` and `NodeContext.check`."""


class Blocked(Exception):  # noqa: N818 - the protocol's own word
    """A node refuses to let its dependants run; the prompt still 'succeeds' without output."""


class Progress(Protocol):
    """Report ``value`` of ``maximum`` steps; raises `Interrupted` if the prompt must stop."""

    def __call__(
        self, value: int, maximum: int, preview: Image | None = None, *, whole: bool = False
    ) -> None:
        """Report progress, with a picture of it if there is one.

        ``whole``: the picture is the result itself, sent as a PNG of its full size.
        """


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a server keeps its files."""

    input: Path
    output: Path
    temp: Path


@dataclass(frozen=True, slots=True)
class NodeOutput:
    """What a node returns: link values in slot order, and what it shows to people."""

    values: tuple[Any, ...] = ()
    ui: dict[str, Any] | None = None
    """As in ``executed.output``: ``{"images": [{"filename", "subfolder", "type"}]}``."""


class Memory(Protocol):
    """The graphics memory of the server (bytes). `memory.py` implements it."""

    def load(self, name: str, size: int) -> None:
        """Make a model resident, evicting others as the real server does; may raise `NodeError`."""

    def work(self, size: int, *, needs: tuple[str, ...] = (), evict: bool = True) -> None:
        """Check that ``size`` bytes of activations fit beside the models in ``needs``.

        With ``evict`` other resident models make room first, as in sampling;
        without, they stay, as in a decode whose need the server underestimates.
        Raises `NodeError` with the out-of-memory error of this kind of server.
        """


@dataclass(slots=True)
class NodeContext:
    """What one execution of one node may use."""

    node_id: str
    prompt: Mapping[str, Any]
    """The whole API graph, for the PNG's metadata."""
    extra_pnginfo: Mapping[str, Any] | None
    folders: Folders
    memory: Memory
    progress: Progress
    check: Callable[[], None]
    """Raises `Interrupted` if the prompt must stop."""
    sleep: Callable[[float], None]
    """Seconds of pretended work; not interruptible in itself, like a real kernel launch."""
    step_seconds: float = 0.02
    """How long one sampling step takes."""
    temp_prefix: str = "ComfyUI_temp_aaaaa"
    """Random per server start, as on the real server."""
    after_save: Callable[[Path], None] = field(default=lambda _path: None)
    """Called with each file written by a save node (faults: missing, truncated)."""
    before_save: Callable[[Path], None] = field(default=lambda _path: None)
    """Called with the final path before a save node writes it (faults: disk full)."""
    is_corrupt: Callable[[str, str], bool] = field(default=lambda _folder, _name: False)
    """Says whether a model file (folder, name) is to be read as damaged (faults: corrupt model)."""
    say: Callable[[str], None] = field(default=lambda _words: None)
    """Tells a few words about this node to every socket."""


@dataclass(frozen=True, slots=True)
class NodeClass:
    """One node class: what `object_info` says of it, and what it does."""

    name: str
    run: Callable[..., NodeOutput]
    """Called as ``run(context, **inputs)`` in the worker thread."""
    required: Mapping[str, InputSpec] = field(default_factory=dict)
    optional: Mapping[str, InputSpec] = field(default_factory=dict)
    hidden: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    output_names: tuple[str, ...] | None = None
    output_node: bool = False
    display_name: str | None = None
    category: str = ""
    description: str = ""
    python_module: str = "nodes"
    choices: Mapping[str, Callable[[ServerFiles], list[str]]] = field(default_factory=dict)
    """Inputs whose list of values is read live, such as model files: input name -> lister."""
    validate: Callable[[ServerFiles, Mapping[str, Any]], str | None] | None = None
    """Extra validation as in VALIDATE_INPUTS: None, or the message of the failure."""
    validates: tuple[str, ...] = ()
    """Inputs that `validate` looks at itself (these skip the value-in-list check)."""
    fingerprint: Callable[[ServerFiles, Mapping[str, Any]], str] | None = None
    """Extra cache key, as in IS_CHANGED."""
    modern: bool = False
    """Whether the real class is written in ComfyUI's newer way, which is described differently."""


class ServerFiles(Protocol):
    """What a server has on disk, read live."""

    @property
    def folders(self) -> Folders:
        """Where its files lie."""

    def models(self, folder: str) -> list[str]:
        """Names in a model folder such as ``checkpoints``, ``loras``, ``vae``, sorted."""

    def input_images(self) -> list[str]:
        """Sorted names of the files in the input folder."""
