"""What goes away by itself, and what does not."""

from __future__ import annotations

import pytest

from holdfast.errors import (
    BulkheadFullError,
    CircuitBreakerOpenError,
    DeadlineExceededError,
    ErrorCategory,
    IdleTimeoutError,
    QueueTimeoutError,
)
from holdfast.pipeline.transient import status_of, transient, transient_or_memory


class StatusError(Exception):
    def __init__(self, status):
        self.status_code = status


class ResponseError(OSError):
    def __init__(self, status):
        self.response = StatusError(status)


class CategoryError(Exception):
    def __init__(self, category):
        self.category = category


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        OSError("socket"),
        DeadlineExceededError("attempt"),
        IdleTimeoutError("attempt"),
        CategoryError(ErrorCategory.NETWORK),
    ],
    ids=repr,
)
def test_lost_connections_and_timeouts_go_away(error):
    assert transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        RuntimeError(),
        MemoryError(),
        FileNotFoundError(),
        PermissionError(),
        IsADirectoryError(),
        CategoryError(ErrorCategory.VALIDATION),
    ],
    ids=repr,
)
def test_mistakes_and_missing_files_stay(error):
    assert not transient(error)


@pytest.mark.parametrize(
    "rejection",
    [CircuitBreakerOpenError("x"), BulkheadFullError("x"), QueueTimeoutError("x")],
    ids=repr,
)
def test_our_own_rejections_are_not_repeated_even_if_they_are_timeouts_by_type(rejection):
    assert not transient(rejection)
    assert not transient_or_memory(rejection)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 529])
def test_a_passing_status_is_worth_another_try(status):
    assert transient(StatusError(status))
    assert transient(ResponseError(status))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 501, 505])
def test_a_lasting_status_decides_over_the_type_of_the_error(status):
    assert isinstance(ResponseError(status), OSError)
    assert not transient(ResponseError(status))


@pytest.mark.parametrize("status", [True, "503", None, 99, 600])
def test_what_is_no_status_decides_nothing(status):
    assert status_of(StatusError(status)) is None


def test_a_known_library_is_recognised_by_names_alone():
    transport = type("TransportError", (Exception,), {"__module__": "httpx"})
    read = type("ReadError", (transport,), {"__module__": "httpx"})
    stranger = type("TransportError", (Exception,), {"__module__": "elsewhere"})
    assert transient(read())
    assert not transient(stranger())


def test_on_a_gpu_lack_of_memory_goes_away_too():
    torch_like = type("OutOfMemoryError", (RuntimeError,), {})
    for error in (MemoryError(), torch_like(), CategoryError(ErrorCategory.MEMORY)):
        assert transient_or_memory(error)
        assert not transient(error)
