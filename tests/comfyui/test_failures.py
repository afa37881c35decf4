"""What a node's fault amounts to, whether two failures are the same one, and which error tells."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui import failures
from holdfast.comfyui.failures import (
    ComfyUIError,
    Failure,
    FailureKind,
    NodeFault,
    clip,
    from_fault,
    node_name,
)
from holdfast.comfyui.result import Attempt
from holdfast.errors import DeadlineExceededError, ErrorCategory, HoldfastError

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

SERVER = "http://gpu1:8188"
TIPS = (
    "\nThis error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before "
    "you might have accidentally set the batch_size to a large number."
)


def fault(exception_type: str = "RuntimeError", message: str = "", **fields: Any) -> NodeFault:
    """What an `execution_error` is read as."""
    data = {
        "node_id": "5",
        "node_type": "KSampler",
        "exception_type": exception_type,
        "exception_message": f"{message}\n",
        "traceback": [],
    }
    return NodeFault.read(data | fields)


def failed(exception_type: str = "RuntimeError", message: str = "", **fields: Any) -> Failure:
    """The failure a fault amounts to."""
    return from_fault(fault(exception_type, message, **fields), SERVER)


# Classes of faults ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exception_type", "message"),
    [
        ("torch.OutOfMemoryError", "Allocation on device " + TIPS),
        ("torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB."),
        ("torch.cuda.OutOfMemoryError", "HIP out of memory. Tried to allocate 2.00 GiB."),
        ("RuntimeError", "CUDA error: out of memory"),
        ("RuntimeError", "MPS backend out of memory (MPS allocated: 17.5 GB)"),
        (
            "RuntimeError",
            (
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate "
                "memory: you tried to allocate 4398046511104 bytes. Error code 12 (Cannot allocate "
                "memory)"
            ),
        ),
        (
            "RuntimeError",
            "unable to mmap 2132 bytes from file <a.safetensors>: Cannot allocate memory (12)",
        ),
        ("MemoryError", ""),
        ("MemoryError", "\n"),
        (
            "numpy._core._exceptions._ArrayMemoryError",
            "Unable to allocate 22.4 GiB for an array with shape (1000, 1000, 3)",
        ),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_running_out_of_memory_is_recognised(exception_type, message):
    failure = failed(exception_type, message)
    assert failure.kind is FailureKind.OUT_OF_MEMORY
    assert failure.category is ErrorCategory.MEMORY
    assert failure.message.startswith("node 5 (KSampler) ran out of memory")
    assert failure.server == SERVER


@pytest.mark.parametrize(
    ("exception_type", "message"),
    [
        ("OSError", "[Errno 28] No space left on device"),
        ("OSError", "[Errno 122] Disk quota exceeded"),
        ("OSError", "[Errno 28] No space left on device: '/output/pic_00001_.png'"),
    ],
)
def test_a_full_disk_lies_in_the_server(exception_type, message):
    failure = failed(exception_type, message, node_type="SaveImage")
    assert failure.kind is FailureKind.NODE_ERROR
    assert failure.category is ErrorCategory.SYSTEM
    assert failure.elsewhere
    assert "disk is full" in failure.message


@pytest.mark.parametrize(
    ("exception_type", "message"),
    [
        (
            "safetensors._safetensors_rust.SafetensorError",
            "Error while deserializing header: header too large",
        ),
        (
            "safetensors._safetensors_rust.SafetensorError",
            "Error while deserializing header: incomplete metadata, file not fully covered",
        ),
        (
            "ValueError",
            "/models/a.safetensors: MetadataIncompleteBuffer\n\nFile path: /models/a.safetensors",
        ),
        (
            "RuntimeError",
            "ERROR: Could not detect model type of: /models/checkpoints/a.safetensors",
        ),
        ("_pickle.UnpicklingError", "Weights only load failed. In PyTorch 2.6, we changed ..."),
        ("RuntimeError", "PytorchStreamReader failed reading zip archive: failed finding central"),
    ],
)
def test_a_damaged_model_lies_in_the_server(exception_type, message):
    failure = failed(exception_type, message, node_type="CheckpointLoaderSimple")
    assert failure.kind is FailureKind.NODE_ERROR
    assert failure.category is ErrorCategory.MODEL
    assert failure.elsewhere
    assert "looks damaged" in failure.message


def test_output_that_nobody_reads_lies_in_the_server():
    failure = failed("BrokenPipeError", "[Errno 32] Broken pipe")
    assert failure.kind is FailureKind.NODE_ERROR
    assert failure.category is ErrorCategory.SYSTEM
    assert failure.elsewhere
    assert "restart it with its output in a file" in failure.message


def test_a_file_that_is_gone_lies_in_the_server():
    failure = failed("FileNotFoundError", "[Errno 2] No such file or directory: '/input/a.png'")
    assert failure.kind is FailureKind.NODE_ERROR
    assert failure.category is ErrorCategory.SYSTEM
    assert failure.elsewhere


@pytest.mark.parametrize(
    ("exception_type", "message"),
    [
        ("RuntimeError", "Sizes of tensors must match except in dimension 1. Expected size 64"),
        ("PIL.UnidentifiedImageError", "cannot identify image file '/input/notes.png'"),
        ("Exception", "**** ERROR: Saving image outside the output folder is not allowed."),
        ("ValueError", ""),
        ("", ""),
    ],
)
def test_anything_else_is_the_workflows_own(exception_type, message):
    failure = failed(exception_type, message)
    assert failure.kind is FailureKind.NODE_ERROR
    assert failure.category is ErrorCategory.WORKFLOW
    assert not failure.elsewhere
    assert failure.message.startswith("node 5 (KSampler) failed: ")


def test_a_fault_keeps_what_was_said_of_it():
    failure = failed("ValueError", "bad", traceback=["a\n", 3, None, "b\n"])
    assert (failure.node_id, failure.node_type) == ("5", "KSampler")
    assert failure.exception_type == "ValueError"
    assert failure.traceback == "a\nb\n"


def test_an_empty_message_is_said_to_be_none():
    assert fault("pkg.CustomError", "\n").words == "CustomError: no message"
    assert fault("", "").words == "an error: no message"


def test_only_the_first_line_of_a_message_is_shown():
    assert fault("ValueError", "\n\n  first \nsecond").words == "ValueError: first"


def test_messages_stay_a_few_lines_however_long_the_servers_are():
    failure = failed("T" * 10_000, "x" * 200_000, traceback=["y" * 200_000])
    assert len(failure.message) < 600
    assert len(failure.traceback) < 4_100


def test_only_the_notice_of_blocking_is_blocked():
    assert fault("ExecutionBlocked", "Execution Blocked: no").blocked
    assert not fault("RuntimeError", "ExecutionBlocked").blocked


@relaxed
@given(
    st.dictionaries(
        st.sampled_from(
            ["node_id", "node_type", "exception_type", "exception_message", "traceback"]
        ),
        st.none()
        | st.integers()
        | st.text()
        | st.lists(st.text() | st.integers())
        | st.dictionaries(st.text(), st.integers()),
    )
)
def test_any_fields_make_a_failure_with_a_message(data):
    failure = from_fault(NodeFault.read(data), None)
    assert failure.message
    assert failure.to_error().failure is failure


# Words ----------------------------------------------------------------------------------


def test_clip_leaves_short_text_alone_and_says_how_much_is_left_out():
    assert clip("abc", 3) == "abc"
    assert clip("abcdef", 3) == "abc... (3 more characters)"
    assert clip("a" * 3_000).endswith("... (1,000 more characters)")
    assert not clip("")


@pytest.mark.parametrize(
    ("node_id", "node_type", "name"),
    [
        ("4", "KSampler", "node 4 (KSampler)"),
        ("4", None, "node 4"),
        (None, "KSampler", "KSampler"),
        (None, None, "a node"),
    ],
)
def test_a_node_is_named_with_what_is_known_of_it(node_id, node_type, name):
    assert node_name(node_id, node_type) == name


# Sameness -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("index 5 is out of bounds for 4", "index 17 is out of bounds for 12"),
        ("at 0x7f31c0d3e5b0", "at 0x55d0aa01F"),
        ("[Errno 28] /out/pic_00001_.png", "[Errno 28] /out/pic_00023_.png"),
        ("Tried to allocate 2.00 GiB", "Tried to allocate 13.51 GiB"),
    ],
)
def test_failures_that_differ_only_in_numbers_and_addresses_are_the_same(one, other):
    assert failed(message=one).signature == failed(message=other).signature


def test_the_server_does_not_make_a_failure_another_one():
    one, other = fault(message="x"), fault(message="x")
    assert from_fault(one, "a").signature == from_fault(other, "b").signature


@pytest.mark.parametrize(
    "other",
    [
        failed("RuntimeError", "another text"),
        failed("ValueError", "text"),
        failed("RuntimeError", "text", node_id="6"),
        failed("MemoryError", "text"),
    ],
)
def test_another_text_type_node_or_kind_is_another_failure(other):
    assert failed("RuntimeError", "text").signature != other.signature


# Errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_kind_of_failure_has_an_error_that_tells_it(kind):
    failure = Failure(kind, "what happened", SERVER, "4", "KSampler", category=ErrorCategory.SYSTEM)
    attempts = (Attempt(1, SERVER, 0.5, failure),)
    error = failure.to_error(attempts)
    assert isinstance(error, ComfyUIError)
    assert isinstance(error, HoldfastError)
    assert type(error) is not ComfyUIError
    assert str(error) == "what happened"
    assert error.attempts == attempts
    assert (error.server, error.node_id, error.node_type) == (SERVER, "4", "KSampler")
    assert error.category is ErrorCategory.SYSTEM


def test_errors_are_what_callers_catch():
    def error(kind: FailureKind) -> ComfyUIError:
        return Failure(kind, "x").to_error()

    assert isinstance(error(FailureKind.OUT_OF_MEMORY), failures.NodeFailedError)
    assert isinstance(error(FailureKind.DEADLINE), DeadlineExceededError)
    assert isinstance(error(FailureKind.DEADLINE), TimeoutError)
    assert isinstance(error(FailureKind.REJECTED), failures.WorkflowRejectedError)
    assert error(FailureKind.REJECTED).problems == ()


@pytest.mark.parametrize("remake", [copy.copy, lambda each: pickle.loads(pickle.dumps(each))])
def test_an_error_survives_copying_and_pickling_as_process_pools_do(remake):
    failure = failed("ValueError", "bad")
    error = remake(failure.to_error((Attempt(1, SERVER, 0.5, failure),)))
    assert type(error) is failures.NodeFailedError
    assert str(error) == failure.message
    assert error.failure == failure
    assert len(error.attempts) == 1
