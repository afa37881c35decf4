"""Holdfast's own errors keep what they carry when they cross a process pool."""

import copy
import pickle

import pytest

from holdfast.errors import CircuitBreakerOpenError, RejectedError


@pytest.mark.parametrize("remake", [copy.copy, lambda each: pickle.loads(pickle.dumps(each))])
@pytest.mark.parametrize(
    "error",
    [RejectedError("full", retry_after=2.5), CircuitBreakerOpenError("gpu1", retry_after=3.0)],
)
def test_a_rejection_survives_copying_and_pickling(error, remake):
    again = remake(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.retry_after == error.retry_after
    assert getattr(again, "name", None) == getattr(error, "name", None)
