"""What is said of a node that did not finish: how an error looks on the wire.

Pure, given the error and the node's inputs. Numbers and texts are shown as
they are, arrays as PyTorch would print them, all else as its own text.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.comfyui.standin.node import NodeError
from holdfast.comfyui.standin.validate import type_name

OUT_OF_MEMORY = "torch.OutOfMemoryError"

OUT_OF_MEMORY_TIP = (
    "This error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before "
    "you might have accidentally set the batch_size to a large number."
)

LONG = 1000
"""Of an array of more numbers than this only the edges are shown."""

EDGE = 3
LINE = 80


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a node did not finish; no error means it was interrupted."""

    node_id: str
    error: Exception | None = None
    inputs: Mapping[str, Any] | None = None
    """What it was called with, hidden inputs too; None if it did not get that far."""


def kind_of(error: Exception) -> str:
    """The class name of an error, as it goes over the wire."""
    return error.exception_type if isinstance(error, NodeError) else type_name(error)


def words_of(error: Exception) -> str:
    """What an error says, without any tip."""
    return error.message if isinstance(error, NodeError) else str(error)


def explained(
    error: Exception, inputs: Mapping[str, Any] | None, outputs: Iterable[str]
) -> dict[str, Any]:
    """What the message of a failure says beside where it happened."""
    kind = kind_of(error)
    tip = OUT_OF_MEMORY_TIP if kind == OUT_OF_MEMORY else ""
    return {
        "exception_message": f"{words_of(error)}\n{tip}",
        "exception_type": kind,
        "traceback": traceback.format_tb(error.__traceback__),
        "current_inputs": {name: [shown(value)] for name, value in (inputs or {}).items()},
        "current_outputs": list(outputs),
    }


def shown(value: Any) -> Any:
    """Return a value as an error shows it."""
    if value is None or isinstance(value, int | float | bool | str):
        return value
    return tensor_text(value) if isinstance(value, np.ndarray) else str(value)


def tensor_text(values: npt.NDArray[Any]) -> str:
    """Print an array as PyTorch prints a tensor; of a long one only the edges are looked at."""
    if values.size == 0:
        return f"tensor([], size={values.shape})"
    seen = _edges(values) if values.size > LONG else values
    form = _form(seen)
    width = max(len(form.format(number)) for number in seen.flat)
    text = np.array2string(
        values,
        max_line_width=LINE,
        separator=", ",
        prefix="tensor(",
        threshold=LONG,
        edgeitems=EDGE,
        formatter={"float_kind": lambda number: form.format(number).rjust(width)},
    )
    cut = text.replace(", ..., ", ",  ..., ")  # PyTorch sets two spaces before a gap in a row
    return f"tensor({cut})"


def _edges(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    kept = (
        range(length) if length <= 2 * EDGE else [*range(EDGE), *range(length - EDGE, length)]
        for length in values.shape
    )
    return np.asarray(values[np.ix_(*kept)])


def _form(seen: npt.NDArray[Any]) -> str:
    """Choose how to write numbers: whole, with four places, or as powers of ten."""
    sizes = np.abs(seen[np.isfinite(seen) & (seen != 0)])
    whole = bool(np.all(sizes == np.ceil(sizes)))
    if sizes.size:
        least, most = float(sizes.min()), float(sizes.max())
        if most > 1000 * least or most > 1e8 or (least < 1e-4 and not whole):
            return "{:.4e}"
    return "{:.0f}." if whole else "{:.4f}"
