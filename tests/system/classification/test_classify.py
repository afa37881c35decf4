"""What `classify` reads out of exceptions, and that nothing can upset it."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import errors
from holdfast.errors import BadInputError, ErrorCategory, ErrorSeverity, SuggestedRecovery
from holdfast.system.classification import Classification, classify


def raised(error, cause=None):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


class Answer:
    status_code = 503


class AnsweredError(Exception):
    response = Answer()


class UnsayableError(Exception):
    def __str__(self):
        raise RuntimeError("no")


class LyingError(Exception):
    @property
    def status_code(self):
        raise OSError("no")


class NamedError(Exception):
    category = ErrorCategory.MODEL


def test_an_error_of_the_system_is_read_by_its_number():
    assert classify(OSError(28, "localised")).category == "system"
    assert classify(ConnectionRefusedError(111, "localised")).suggested_recovery == "switch_backend"
    assert classify(OSError(12, "localised")).category == "memory"


def test_the_exit_code_of_a_command_is_read():
    assert classify(subprocess.CalledProcessError(-9, "x")).category == "memory"
    assert classify(subprocess.CalledProcessError(-11, "x")).category == "system"
    assert classify(subprocess.CalledProcessError(139, "x")).severity == "critical"


def test_the_status_of_an_answer_is_read():
    assert classify(AnsweredError("boom")).category == "network"
    assert classify(AnsweredError("boom"), http_status=422).category == "validation"


def test_memory_in_a_cause_is_what_an_error_is_about():
    found = classify(raised(ValueError("job failed"), MemoryError()))
    assert found.category == "memory"


def test_an_understood_cause_goes_before_a_guess_by_class():
    found = classify(raised(RuntimeError("x"), ConnectionResetError(104, "reset")))
    assert found.category == "network"


def test_a_suppressed_context_is_not_looked_at():
    error = ValueError("divisible by 8")
    error.__context__ = MemoryError()
    assert classify(error).category == "memory"
    error.__suppress_context__ = True
    assert classify(error).category == "validation"


def test_causes_in_a_circle_end():
    one, two = RuntimeError("a"), RuntimeError("b")
    one.__cause__, two.__cause__ = two, one
    assert isinstance(classify(one), Classification)


def test_a_group_counts_as_its_worst_leaf():
    found = classify(ExceptionGroup("x", [TimeoutError(), OSError(28, "full"), ConnectionError()]))
    assert (found.category, found.severity) == ("system", "critical")


def test_a_cancellation_among_the_leaves_wins():
    group = BaseExceptionGroup("x", [OSError(28, "full"), asyncio.CancelledError()])
    assert classify(group).reason == "somebody asked to stop"


def test_a_group_nested_ten_thousand_deep_is_no_trouble():
    error: Exception = ValueError("x")
    for _ in range(10_000):
        error = ExceptionGroup("g", [error])
    assert isinstance(classify(error), Classification)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(1)])
def test_a_stop_is_nothing_to_mend(error):
    found = classify(error)
    assert (found.transient, found.suggested_recovery) == (False, "none")


@pytest.mark.parametrize(
    "error",
    [
        errors.BulkheadFullError("full"),
        errors.QueueTimeoutError("full"),
        errors.RateLimitedError("slow"),
        errors.LoadShedError("shed"),
        errors.ThrottledError("held"),
    ],
)
def test_what_holdfast_held_back_is_to_be_tried_later(error):
    found = classify(error)
    assert (found.category, found.transient) == ("network", True)
    assert found.suggested_recovery == "wait_and_retry"


def test_bad_input_to_holdfast_is_to_be_corrected():
    assert classify(BadInputError("memory must be positive")).category == "validation"


def test_an_error_that_knows_its_category_keeps_it():
    found = classify(NamedError("Connection reset by peer"))
    assert (found.category, found.reason) == ("model", "the error says so itself")


def test_parts_are_enough_and_all_are_optional():
    assert classify().category == "unknown"
    assert classify(exception_type="MemoryError").category == "memory"
    assert classify(exception_type=MemoryError).category == "memory"
    assert classify(message="Connection reset by peer").category == "network"


def test_bytes_are_decoded():
    assert classify(message=b"CUDA out of memory \xff\xfe").category == "memory"


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("message", {"message": 5}),
        ("node_type", {"node_type": 5}),
        ("http_status", {"http_status": "500"}),
        ("http_status", {"http_status": True}),
        ("http_status", {"http_status": 42}),
        ("exception_type", {"exception_type": int}),
    ],
)
def test_a_wrong_type_is_refused_with_the_name_of_the_field(field, arguments):
    with pytest.raises(BadInputError, match=f"^{field} must be"):
        classify(**arguments)


def test_an_error_that_is_none_is_refused():
    with pytest.raises(BadInputError, match=r"^error must be"):
        classify("text")


def test_exceptions_whose_own_code_fails_are_read_as_far_as_possible():
    assert isinstance(classify(UnsayableError()), Classification)
    assert classify(LyingError("Connection reset by peer")).category == "network"


def test_only_head_and_tail_of_a_long_message_are_read():
    start = time.perf_counter()
    assert classify(message="x" * 10_000_000 + " CUDA out of memory").category == "memory"
    assert classify(message="CUDA out of memory " + "y " * 5_000_000).category == "memory"
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    "bait",
    [
        "a" * 9_000,
        "- " * 4_500,
        "error: " * 1_300,
        "((((" * 2_200,
        "status code " * 750,
        "exit " * 1_800,
        "a: 'b' not in " * 640,
        "x: " * 3_000 + " not in",
        "1" * 9_000,
        'File "' * 1_500,
        "* a 1:" * 1_500,
        "tried to allocate " * 500,
        "fork " * 1_800,
        "out of resource " * 560,
        "\n" * 9_000,
        "A.b" * 3_000,
        "'details': " * 800,
        " " * 9_000 + ":",
    ],
)
def test_bait_for_regular_expressions_takes_no_time(bait):
    start = time.perf_counter()
    classify(message=bait)
    assert time.perf_counter() - start < 0.5


@given(
    message=st.text(max_size=400) | st.binary(max_size=400),
    kind=st.none() | st.text(max_size=60),
    node=st.none() | st.text(max_size=60),
    http=st.none() | st.integers(100, 599),
)
@settings(deadline=None)
def test_any_input_gets_the_same_answer_twice(message, kind, node, http):
    once, again = (
        classify(exception_type=kind, message=message, node_type=node, http_status=http)
        for _ in range(2)
    )
    assert once == again
    assert once.category in ErrorCategory
    assert once.severity in ErrorSeverity
    assert once.suggested_recovery in SuggestedRecovery
    assert once.reason


def test_lone_surrogates_and_control_characters_are_no_trouble():
    assert classify(message="\ud800 Connection reset by peer \x00").category == "network"


def test_common_errors_take_little_time():
    found = [ValueError(f"bad value {n}") for n in range(3_000)]
    classify(found[0])
    start = time.perf_counter()
    for error in found:
        classify(error)
    # Ten times the goal: this is to see a slip in order of growth, on any machine.
    assert (time.perf_counter() - start) / len(found) < 200e-6


def test_many_threads_get_the_same_answers():
    texts = [f"Connection reset by peer {n}" for n in range(200)]
    wrong = []

    def work():
        wrong.extend(text for text in texts if classify(message=text).category != "network")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
