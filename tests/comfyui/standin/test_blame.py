"""How values look in an error: arrays as PyTorch prints tensors."""

import time

import numpy as np
import pytest

from holdfast.comfyui.standin.blame import explained, shown
from holdfast.comfyui.standin.node import NodeError


@pytest.mark.parametrize("value", [None, 1, 2.5, True, "text"])
def test_plain_values_are_shown_as_they_are(value):
    assert shown(value) is value


def test_anything_else_is_shown_as_its_text():
    assert shown({"a": [1]}) == "{'a': [1]}"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.25, 0.5], "tensor([0.2500, 0.5000])"),
        ([0, 1], "tensor([0., 1.])"),
        ([[0.1, 0.2], [10, 0]], "tensor([[ 0.1000,  0.2000],\n        [10.0000,  0.0000]])"),
        ([1e-6, 0.5], "tensor([1.0000e-06, 5.0000e-01])"),
        (0.5, "tensor(0.5000)"),
        (np.zeros((0, 3)), "tensor([], size=(0, 3))"),
    ],
    ids=str,
)
def test_short_arrays_are_shown_whole(values, text):
    assert shown(np.array(values, np.float32)) == text


def test_of_a_long_array_the_edges_are_shown_and_looked_at():
    vast = np.broadcast_to(np.float32(0.5), (4096, 16384, 16384, 3))
    began = time.perf_counter()
    lines = shown(vast).split("\n")
    assert time.perf_counter() - began < 1
    assert lines[0] == "tensor([[[[0.5000, 0.5000, 0.5000],"
    assert lines[3] == "          ...,"
    assert lines[-1] == "          [0.5000, 0.5000, 0.5000]]]])"


def test_a_long_row_is_cut_in_its_middle():
    row = np.linspace(0, 1, 2000, dtype=np.float32)
    text = "tensor([0.0000e+00, 5.0025e-04, 1.0005e-03,  ..., 9.9900e-01, 9.9950e-01,"
    assert shown(row).split("\n")[0] == text


def test_an_error_of_a_node_goes_under_the_name_it_says():
    told = explained(NodeError("torch.OutOfMemoryError", "too much"), {"a": 1}, ["1"])
    assert told["exception_type"] == "torch.OutOfMemoryError"
    assert told["exception_message"].startswith("too much\nThis error means you ran out of memory")
    assert told["current_inputs"] == {"a": [1]}
    assert told["current_outputs"] == ["1"]
    assert explained(ValueError(""), None, [])["exception_message"] == "\n"
