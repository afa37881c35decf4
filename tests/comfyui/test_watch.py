"""Watching a submission, step by step and against servers that stay in one condition for ever."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from holdfast.comfyui import messages as heard
from holdfast.comfyui.failures import NodeFault
from holdfast.comfyui.replies import Ending, HistoryEntry, Queue, QueueItem
from holdfast.comfyui.watch import Outcome, Patience, Verdict, Want, Watch, Where
from holdfast.errors import BadInputError

RUN, OURS, THEIRS = "run-1", "our-token", "another-token"
PATIENCE = Patience()
FAULT = NodeFault("5", "KSampler", "RuntimeError", "boom")
BLOCKED = NodeFault("6", "PreviewImage", "ExecutionBlocked", "Execution Blocked: no")
EMPTY = Queue((), ())

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def watch(*, accepted: bool = True) -> Watch:
    """A watch that begins at 0, its submission answered at once or not at all."""
    made = Watch(RUN, OURS, PATIENCE, 0.0)
    if accepted:
        made.accepted(0.0)
    else:
        made.unanswered(0.0)
    return made


def job(mark: str | None = OURS, prompt_id: str = RUN) -> QueueItem:
    """A job in a queue."""
    return QueueItem(1, prompt_id, mark)


def running(mark: str | None = OURS) -> Queue:
    """Our job runs."""
    return Queue((job(mark),), ())


def pending(ahead: str | None = "other") -> Queue:
    """Our job waits, behind another one or behind none."""
    return Queue((job(None, ahead),) if ahead else (), (job(),))


def entry(
    mark: str | None = OURS, ending: Ending = Ending.SUCCESS, fault: NodeFault | None = None
) -> HistoryEntry:
    """A run in the history."""
    return HistoryEntry(RUN, ending, mark, fault=fault)


def verdict(of: Watch) -> Verdict:
    """The verdict, which there must be."""
    assert of.verdict is not None
    return of.verdict


# The history decides --------------------------------------------------------------------


@pytest.mark.parametrize("event", [heard.Succeeded(RUN), heard.Finished(RUN)])
def test_the_end_heard_is_only_a_reason_to_look(event):
    each = watch()
    each.message(event, 1.0)
    assert not each.done
    assert each.wants(1.0) is Want.LOOK
    each.looked(EMPTY, entry(), 1.1)
    assert verdict(each).outcome is Outcome.ENDED
    assert verdict(each).entry == entry()
    assert each.wants(1.2) is None


def test_executing_nothing_alone_is_not_success():
    each = watch()
    each.message(heard.Finished(RUN), 1.0)
    failed = entry(ending=Ending.ERROR, fault=FAULT)
    each.looked(EMPTY, failed, 1.1)
    assert verdict(each).entry is failed
    assert verdict(each).fault is FAULT


def test_the_end_of_another_run_is_not_ours():
    each = watch()
    each.message(heard.Finished("run-2"), 1.0)
    each.message(heard.Failed("run-2", FAULT), 1.0)
    assert each.wants(1.0) is None
    assert each.where is None


def test_a_stale_entry_of_an_earlier_submission_is_ignored():
    each = watch()
    each.message(heard.Succeeded(RUN), 1.0)
    each.looked(running(), entry(THEIRS), 1.1)
    assert not each.done
    assert each.where is Where.RUNNING
    each.looked(EMPTY, entry(OURS), 2.0)
    assert verdict(each).outcome is Outcome.ENDED


def test_a_queue_item_of_an_earlier_submission_is_not_ours():
    each = watch()
    each.looked(running(THEIRS), None, 1.0)
    assert each.where is None
    each.looked(running(THEIRS), None, 3.0)
    assert verdict(each).outcome is Outcome.LOST


def test_a_server_that_drops_the_token_is_believed_by_the_prompts_id():
    each = watch()
    each.looked(running(None), None, 1.0)
    assert each.where is Where.RUNNING
    each.looked(EMPTY, entry(None), 2.0)
    assert verdict(each).outcome is Outcome.ENDED


def test_the_history_is_read_again_when_it_lags_behind_the_event():
    each = watch()
    each.message(heard.Succeeded(RUN), 1.0)
    each.looked(running(), None, 1.01)
    assert not each.done
    assert each.wake_at(1.01) - 1.01 < 0.3
    each.looked(EMPTY, None, 1.1)
    assert not each.done
    assert each.wake_at(1.1) - 1.1 < 0.3
    each.looked(EMPTY, entry(), 1.5)
    assert verdict(each).outcome is Outcome.ENDED


def test_an_end_the_history_never_learns_of_is_a_loss_after_a_while():
    each = watch()
    each.message(heard.Succeeded(RUN), 1.0)
    each.looked(EMPTY, None, 1.1)
    each.looked(EMPTY, None, 1.1 + PATIENCE.settle - 0.1)
    assert not each.done
    each.looked(EMPTY, None, 1.1 + PATIENCE.settle)
    assert verdict(each).outcome is Outcome.LOST


def test_a_block_is_remembered_but_ends_nothing():
    each = watch()
    each.message(heard.Failed(RUN, BLOCKED), 1.0)
    assert each.blocked is BLOCKED
    assert each.wants(1.0) is None
    each.message(heard.Succeeded(RUN), 1.1)
    each.looked(EMPTY, entry(), 1.2)
    assert verdict(each).outcome is Outcome.ENDED
    assert verdict(each).fault is None


# Absence --------------------------------------------------------------------------------


def test_absence_is_believed_only_when_seen_twice_with_time_in_between():
    each = watch()
    each.looked(EMPTY, None, 10.0)
    assert not each.done
    each.looked(EMPTY, None, 10.2)
    assert not each.done
    each.looked(EMPTY, None, 10.0 + PATIENCE.absent)
    assert verdict(each).outcome is Outcome.LOST
    assert not verdict(each).restarted


def test_absence_seen_once_is_forgotten_when_the_job_shows_up():
    each = watch()
    each.looked(EMPTY, None, 10.0)
    each.looked(pending(), None, 10.5)
    each.looked(EMPTY, None, 30.0)
    assert not each.done


def test_absence_seen_once_is_forgotten_when_the_job_is_heard():
    each = watch()
    each.looked(EMPTY, None, 10.0)
    each.message(heard.Executing("5", RUN), 10.5)
    each.looked(EMPTY, None, 30.0)
    assert not each.done


def test_a_submission_without_an_answer_is_looked_for_at_once():
    each = watch(accepted=False)
    assert each.wants(0.0) is Want.LOOK


def test_a_submission_without_an_answer_that_is_nowhere_never_arrived():
    each = watch(accepted=False)
    each.looked(EMPTY, None, 0.1)
    assert not each.done
    each.looked(EMPTY, None, 2.0)
    assert verdict(each).outcome is Outcome.NEVER_ACCEPTED


@pytest.mark.parametrize("queue", [running(), pending(), pending(None)])
def test_a_submission_without_an_answer_that_arrived_is_watched_like_any_other(queue):
    each = watch(accepted=False)
    each.looked(queue, None, 0.1)
    each.looked(EMPTY, None, 9.0)
    each.looked(EMPTY, None, 12.0)
    assert verdict(each).outcome is Outcome.LOST


def test_a_job_gone_after_the_socket_dropped_means_a_restart():
    each = watch()
    each.message(heard.Executing("5", RUN), 1.0)
    each.socket_lost(2.0)
    assert each.wants(2.0) is Want.LOOK
    each.looked(EMPTY, None, 2.1)
    each.looked(EMPTY, None, 4.0)
    assert verdict(each).outcome is Outcome.LOST
    assert verdict(each).restarted


# The server goes away -------------------------------------------------------------------


def test_a_lost_socket_and_a_refusal_mean_that_the_server_died():
    each = watch()
    each.message(heard.Executing("5", RUN), 1.0)
    each.socket_lost(2.0)
    each.refused(2.1)
    assert verdict(each).outcome is Outcome.DIED
    assert verdict(each).restarted
    assert each.node == "5"


def test_one_refusal_beside_a_healthy_socket_is_not_believed():
    each = watch()
    each.refused(5.0)
    assert not each.done
    each.looked(running(), None, 5.4)
    each.refused(50.0)
    assert not each.done
    each.refused(50.3)
    assert verdict(each).outcome is Outcome.DIED


def test_a_server_that_dies_during_the_submission_had_no_job():
    each = watch(accepted=False)
    each.socket_lost(0.1)
    each.refused(0.2)
    assert verdict(each).outcome is Outcome.DIED
    assert not verdict(each).restarted


def test_an_error_heard_is_believed_when_the_server_then_dies():
    each = watch()
    each.message(heard.Failed(RUN, FAULT), 1.0)
    each.socket_lost(1.1)
    each.refused(1.2)
    assert verdict(each).outcome is Outcome.FAULT
    assert verdict(each).fault is FAULT


def test_an_error_heard_is_believed_when_the_server_then_falls_silent():
    each = watch()
    each.message(heard.Failed(RUN, FAULT), 1.0)
    each.silent(2.0)
    each.silent(2.0 + PATIENCE.unanswered)
    assert verdict(each).outcome is Outcome.FAULT


def test_a_success_heard_is_not_believed_when_the_server_then_dies():
    each = watch()
    each.message(heard.Succeeded(RUN), 1.0)
    each.socket_lost(1.1)
    each.refused(1.2)
    assert verdict(each).outcome is Outcome.DIED


def test_a_server_that_answers_nothing_for_long_enough_is_frozen():
    each = watch()
    each.silent(10.0)
    each.silent(10.0 + PATIENCE.unanswered - 1.0)
    assert not each.done
    each.silent(10.0 + PATIENCE.unanswered)
    assert verdict(each).outcome is Outcome.FROZEN
    assert "60 s" in verdict(each).words


def test_an_answer_in_between_is_the_end_of_silence():
    each = watch()
    each.silent(10.0)
    each.looked(running(), None, 65.0)
    each.silent(80.0)
    assert not each.done


@pytest.mark.parametrize("fail", [Watch.silent, Watch.refused])
def test_a_look_that_failed_is_not_repeated_in_the_same_moment(fail):
    # Nothing was heard for long, so a look was due; it failed at once. Asking again without a
    # pause would hammer the server, and turn "twice refused" into "refused once".
    each = watch()
    each.message(heard.QueueStatus(1), 1.0)
    assert each.wants(20.0) is Want.LOOK
    fail(each, 20.0)
    assert each.wants(20.0) is None
    assert each.wants(each.wake_at(20.0)) is Want.LOOK
    assert each.wake_at(20.0) >= 20.2


# Waiting and stalling -------------------------------------------------------------------


def test_progress_of_any_kind_keeps_a_job_alive():
    each = watch()
    now = 0.0
    for event in (
        heard.Started(RUN),
        heard.Cached(RUN, ("1",)),
        heard.Executing("5", RUN),
        heard.Stepped(RUN, "5", 1, 20),
        heard.Progressed(RUN),
        heard.Preview(b"", "image/png", RUN, "5"),
        heard.Executed(RUN, "7"),
    ):
        now += PATIENCE.idle - 1.0
        each.message(event, now)
        each.looked(running(), None, now + 0.5)
        assert each.wants(now + 0.5) is None
    assert each.node == "5"
    assert not each.done


def test_a_running_job_without_progress_stalls():
    each = watch()
    each.message(heard.Executing("5", RUN), 10.0)
    late = 10.0 + PATIENCE.idle
    assert each.wants(late) is Want.LOOK
    each.looked(running(), None, late + 0.1)
    assert each.wants(late + 0.1) is None
    assert verdict(each).outcome is Outcome.STALLED
    assert "at node 5" in verdict(each).words
    assert each.quiet.lasted(late) >= PATIENCE.idle


def test_a_job_that_ended_in_the_very_last_moment_has_not_stalled():
    each = watch()
    each.message(heard.Executing("5", RUN), 10.0)
    late = 10.0 + PATIENCE.idle
    assert each.wants(late) is Want.LOOK
    each.looked(EMPTY, entry(), late + 0.1)
    assert verdict(each).outcome is Outcome.ENDED


def test_waiting_in_the_queue_never_stalls_by_the_idle_limit():
    each = watch()
    each.message(heard.QueueStatus(2), 0.1)
    now = 0.0
    while now < PATIENCE.queued - 20.0:
        now += 10.0
        each.looked(pending(), None, now)
        assert each.wants(now) is None
    assert each.where is Where.PENDING
    assert not each.done


def test_waiting_behind_jobs_that_come_and_go_never_stalls():
    each = watch()
    each.message(heard.QueueStatus(2), 0.1)
    for number in range(40):
        now = (number + 1) * PATIENCE.queued * 0.9
        each.looked(pending(f"other-{number}"), None, now)
        assert each.wants(now) is None
    assert not each.done


def test_waiting_behind_a_job_that_never_ends_stalls():
    each = watch()
    each.looked(pending(), None, 10.0)
    late = 10.0 + PATIENCE.queued
    each.looked(pending(), None, late)
    assert each.wants(late) is None
    assert verdict(each).outcome is Outcome.STALLED
    assert "behind a job" in verdict(each).words


def test_waiting_while_nothing_runs_stalls_by_the_idle_limit():
    each = watch()
    each.looked(pending(None), None, 10.0)
    each.looked(pending(None), None, 5.0 + PATIENCE.idle)
    assert each.wants(5.0 + PATIENCE.idle) is None
    assert verdict(each).outcome is Outcome.STALLED


def test_time_in_the_queue_does_not_count_when_the_job_runs():
    each = watch()
    each.message(heard.QueueStatus(2), 0.1)
    each.looked(pending(), None, 10.0)
    each.looked(running(), None, 3_000.0)
    each.looked(running(), None, 3_000.0 + PATIENCE.idle - 1.0)
    assert each.wants(3_000.0 + PATIENCE.idle - 1.0) is Want.REOPEN  # in doubt, but no verdict
    assert not each.done


# The socket -----------------------------------------------------------------------------


def test_a_deaf_socket_is_opened_again_once():
    each = watch()
    each.message(heard.QueueStatus(1, sid="c"), 0.1)
    assert each.wants(1.0) is None
    assert each.wake_at(1.0) == PATIENCE.deaf
    assert each.wants(PATIENCE.deaf) is Want.REOPEN
    each.socket_ready(1.6)
    each.message(heard.QueueStatus(1, sid="c"), 1.6)
    now, wanted = 1.6, set()
    while now < 60.0:
        wanted.add(want := each.wants(now))
        if want is Want.LOOK:
            each.looked(running(), None, now)
        now += 0.5
    assert wanted == {None, Want.LOOK}


def test_a_socket_that_hears_anything_is_not_deaf():
    each = watch()
    each.message(heard.QueueStatus(1), 0.5)
    assert each.wants(PATIENCE.deaf + 0.5) is None


def test_a_lost_socket_is_opened_again_after_a_look():
    each = watch()
    each.socket_lost(3.0)
    assert each.wants(3.0) is Want.LOOK
    each.looked(running(), None, 3.1)
    assert each.wants(3.1) is Want.REOPEN
    each.socket_ready(3.2)
    assert each.wants(3.2) is None


def test_a_socket_that_cannot_be_opened_is_tried_again_later():
    each = watch()
    each.socket_lost(3.0)
    each.looked(running(), None, 3.1)
    each.reopen_failed(3.2)
    assert each.wants(3.2) is Want.LOOK
    each.looked(running(), None, 3.3)
    assert each.wants(3.3) is None
    each.looked(running(), None, 9.0)
    assert each.wants(9.0) is Want.REOPEN


def test_a_deaf_socket_that_could_not_be_replaced_is_tried_again_later():
    # The old socket is closed before the new one is opened, so now there is none.
    each = watch()
    assert each.wants(PATIENCE.deaf) is Want.REOPEN
    each.reopen_failed(1.6)
    each.looked(running(), None, 1.7)
    each.looked(running(), None, 9.0)
    assert each.wants(9.0) is Want.REOPEN


def test_on_reconnection_the_running_node_is_ours_if_our_job_runs():
    each = watch()
    each.looked(running(), None, 10.0)
    each.message(heard.Executing("8", None), 20.0)
    assert each.node == "8"
    assert each.quiet.lasted(25.0) == 15.0  # a dead worker's server says the same: no progress


def test_a_socket_that_went_deaf_in_mid_run_is_renewed_before_the_job_is_called_stalled():
    each = watch()
    each.message(heard.QueueStatus(1), 0.1)
    each.message(heard.Stepped(RUN, "5", 1, 20), 1.0)
    half = 1.0 + PATIENCE.idle / 2
    each.looked(running(), None, half - 1.0)
    assert each.wants(half - 0.5) is None
    assert each.wake_at(half - 0.5) <= half
    assert each.wants(half) is Want.REOPEN
    each.socket_ready(half + 0.1)
    assert each.wants(half + 0.1) is None
    each.message(heard.Stepped(RUN, "5", 9, 20), half + 1.0)
    each.looked(running(), None, half + PATIENCE.idle / 2)
    each.wants(half + PATIENCE.idle / 2)
    assert not each.done


def test_a_dead_worker_is_not_given_more_time_for_a_socket_renewed_in_doubt():
    each = watch()
    each.message(heard.QueueStatus(1), 0.1)
    each.message(heard.Executing("5", RUN), 1.0)
    each.wants(1.0 + PATIENCE.idle / 2)
    each.socket_ready(2.0 + PATIENCE.idle / 2)
    each.message(heard.Executing("5", None), 2.0 + PATIENCE.idle / 2)
    each.looked(running(), None, 1.0 + PATIENCE.idle)
    each.wants(1.0 + PATIENCE.idle)
    assert verdict(each).outcome is Outcome.STALLED


def test_a_server_that_makes_its_own_prompt_ids_is_followed_by_the_token():
    each = watch()
    theirs = Queue((QueueItem(3, "their-id", OURS),), ())
    each.looked(theirs, None, 1.0)
    assert each.prompt_id == "their-id"
    assert each.where is Where.RUNNING
    each.message(heard.Succeeded("their-id"), 2.0)
    assert each.wants(2.0) is Want.LOOK


def test_on_reconnection_the_running_node_is_not_ours_if_our_job_waits():
    each = watch()
    each.looked(pending(), None, 10.0)
    each.message(heard.Executing("8", None), 20.0)
    assert each.node is None
    assert each.where is Where.PENDING


@pytest.mark.parametrize("reopened", [False, True])
def test_without_a_socket_that_hears_patience_is_three_times_as_long(reopened):
    each = watch()
    each.message(heard.Executing("5", RUN), 0.0)
    each.socket_lost(1.0)
    each.looked(running(), None, 1.1)
    if reopened:
        each.socket_ready(1.2)
    late = 2.9 * PATIENCE.idle
    each.looked(running(), None, late)
    assert each.wants(late) is not Want.LOOK
    assert not each.done
    late = 3.0 * PATIENCE.idle
    each.looked(running(), None, late)
    each.wants(late)
    assert verdict(each).outcome is Outcome.STALLED


def test_hearing_again_ends_the_longer_patience():
    each = watch()
    each.message(heard.Executing("5", RUN), 0.0)
    each.socket_lost(1.0)
    each.looked(running(), None, 1.1)
    each.socket_ready(1.2)
    each.message(heard.QueueStatus(3), 2.0)
    each.looked(running(), None, PATIENCE.idle)
    each.wants(PATIENCE.idle)
    assert verdict(each).outcome is Outcome.STALLED


def test_what_was_missed_while_the_socket_was_away_is_looked_for_soon_on_a_busy_server():
    # The run ends unheard; other people's jobs keep the socket chattering.
    each = watch()
    each.message(heard.Executing("5", RUN), 0.0)
    each.socket_lost(1.0)
    each.looked(running(), None, 1.1)
    each.socket_ready(1.3)
    now = 1.3
    while each.wants(now) is not Want.LOOK:
        now += 1.0
        each.message(heard.QueueStatus(2), now)
        assert now < 60.0, "nobody looks"


# Any order of things --------------------------------------------------------------------

EVENTS = [
    heard.QueueStatus(1),
    heard.QueueStatus(1, sid="c"),
    heard.Started(RUN),
    heard.Cached(RUN, ()),
    heard.Executing("5", RUN),
    heard.Executing("5", None),
    heard.Finished(RUN),
    heard.Finished(None),
    heard.Stepped(RUN, "5", 1, 2),
    heard.Stepped(None, "5", 1, 2),
    heard.Succeeded(RUN),
    heard.Succeeded("run-2"),
    heard.Failed(RUN, FAULT),
    heard.Failed(RUN, BLOCKED),
    heard.Stopped(RUN, FAULT),
    heard.Preview(b"", "image/png"),
    heard.NodeText("5", "x"),
    heard.Other("x"),
    heard.Unreadable("x"),
]
QUEUES = [EMPTY, running(), running(THEIRS), running(None), pending(), pending(None), pending("b")]
ENTRIES = [None, entry(), entry(THEIRS), entry(None), entry(ending=Ending.ERROR, fault=FAULT)]
Deed = Callable[[Watch, float], None]

deeds: st.SearchStrategy[Deed] = st.one_of(
    st.sampled_from(EVENTS).map(lambda event: lambda each, now: each.message(event, now)),
    st.tuples(st.sampled_from(QUEUES), st.sampled_from(ENTRIES)).map(
        lambda seen: lambda each, now: each.looked(*seen, now)
    ),
    st.sampled_from(
        [
            Watch.accepted,
            Watch.unanswered,
            Watch.socket_lost,
            Watch.socket_ready,
            Watch.reopen_failed,
            Watch.refused,
            Watch.silent,
        ]
    ),
    st.just(lambda _each, _now: None),
)
steps = st.lists(
    st.tuples(
        deeds, st.sampled_from([0.0, 0.01, 0.3, 1.0, 1.5, 5.0, 61.0, 599.0, 1_800.0, 3_600.0])
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_nothing_raises_and_a_verdict_once_given_stands(given_steps):
    each, now = Watch(RUN, OURS, PATIENCE, 0.0), 0.0
    first: Verdict | None = None
    for deed, seconds in given_steps:
        deed(each, now)
        first = first or each.verdict
        assert each.verdict is first
        now += seconds
        want, wake = each.wants(now), each.wake_at(now)
        first = first or each.verdict
        assert each.verdict is first
        assert each.done == (first is not None)
        assert not math.isnan(wake)
        if first is not None:
            assert want is None
        elif want is None:
            assert wake > now


# A server that stays as it is -----------------------------------------------------------


@dataclass(frozen=True)
class Condition:
    """How a server is, for ever."""

    answer: tuple[Queue, HistoryEntry | None] | str
    """What a look finds, or ``refused`` or ``silent``."""
    answer_seconds: float
    socket: str
    """``up``, ``closed`` or ``closing``: opens, and closes at once."""
    chatter: float | None
    """Seconds between messages about other people's jobs."""


def live(each: Watch, condition: Condition, limit: float) -> float:
    """Do whatever the watch wants until its verdict; the moment at which that comes."""
    now, last_chat, turns = 0.0, 0.0, 0
    up = condition.socket == "up"
    if not up:
        each.socket_lost(now)
    while not each.done:
        assert now < limit, "no verdict"
        turns += 1
        assert turns < 200 + 60 * now, "it spins"
        want = each.wants(now)
        if want is Want.LOOK:
            now += condition.answer_seconds
            look(each, condition, now)
        elif want is Want.REOPEN:
            now += 0.001
            up = reopen(each, condition, now)
        elif not each.done:
            wake = each.wake_at(now)
            assert now < wake < math.inf
            if up and condition.chatter is not None and last_chat + condition.chatter < wake:
                last_chat = now = max(now, last_chat + condition.chatter)
                each.message(heard.QueueStatus(4), now)
            else:
                now = wake
    return now


def look(each: Watch, condition: Condition, now: float) -> None:
    """Answer a look."""
    if condition.answer == "refused":
        each.refused(now)
    elif isinstance(condition.answer, str):
        each.silent(now)
    else:
        each.looked(*condition.answer, now)


def reopen(each: Watch, condition: Condition, now: float) -> bool:
    """Try to open the socket."""
    if condition.socket == "closed":
        each.reopen_failed(now)
        return False
    each.socket_ready(now)
    each.message(heard.QueueStatus(0, sid="c"), now)
    if condition.socket == "closing":
        each.socket_lost(now)
        return False
    return True


LONGEST = max(PATIENCE.queued, 3 * PATIENCE.idle) + 300.0
conditions = st.builds(
    Condition,
    st.sampled_from(["refused", "silent"])
    | st.tuples(st.sampled_from(QUEUES), st.sampled_from(ENTRIES)),
    answer_seconds=st.sampled_from([0.001, 0.5, 10.0]),
    socket=st.sampled_from(["up", "closed", "closing"]),
    chatter=st.none() | st.sampled_from([0.5, 3.0]),
)


@relaxed
@given(
    condition=conditions,
    accepted=st.booleans(),
    before=st.lists(st.sampled_from(EVENTS), max_size=3),
)
@example(condition=Condition("silent", 0.001, "up", None), accepted=True, before=[])
@example(condition=Condition((EMPTY, None), 0.001, "up", 3.0), accepted=True, before=[])
@example(condition=Condition((EMPTY, entry()), 0.001, "up", 0.5), accepted=True, before=[])
@example(condition=Condition((running(), None), 0.001, "closed", None), accepted=True, before=[])
def test_a_server_that_stays_as_it_is_gets_a_verdict_in_bounded_time(condition, accepted, before):
    each = watch(accepted=accepted)
    for event in before:
        each.message(event, 0.0)
    live(each, condition, LONGEST)


@pytest.mark.parametrize(
    ("answer", "outcome", "seconds"),
    [
        ("refused", Outcome.DIED, 10.0),
        ("silent", Outcome.FROZEN, 80.0),
        ((EMPTY, None), Outcome.LOST, 10.0),
        ((EMPTY, entry(THEIRS)), Outcome.LOST, 10.0),
        ((EMPTY, entry()), Outcome.ENDED, 10.0),
        ((running(), None), Outcome.STALLED, 3 * 600.0 + 20.0),
        ((pending(), None), Outcome.STALLED, 3_620.0),
        ((pending(None), None), Outcome.STALLED, 620.0),
    ],
)
@pytest.mark.parametrize("chatter", [None, 2.0])
def test_each_condition_gets_its_own_verdict_however_much_others_chatter(
    answer, outcome, seconds, chatter
):
    each = watch()
    assert live(each, Condition(answer, 0.01, "up", chatter), LONGEST) < seconds
    assert verdict(each).outcome is outcome


# Later findings -------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf])
def test_patience_that_never_pauses_or_never_ends_is_refused(value):
    with pytest.raises(BadInputError, match="idle"):
        Patience(idle=value)


def test_a_server_whose_http_starves_while_the_job_gets_on_is_not_frozen():
    each = watch()
    now = 0.0
    while now < 5 * PATIENCE.unanswered:
        each.message(heard.Stepped(RUN, "5", 1, 20), now)
        if each.wants(now) is Want.LOOK:
            each.silent(now)
        now += 2.0
        each.silent(now)
    assert not each.done
    for _ in range(200):
        now += 1.0
        each.silent(now)
    assert verdict(each).outcome is Outcome.FROZEN


def test_a_history_that_lags_is_asked_ever_more_rarely():
    each = watch()
    each.message(heard.Succeeded(RUN), 10.0)
    asked, now = 0, 10.0
    while now < 20.0:
        if each.wants(now) is Want.LOOK:
            asked += 1
            each.looked(running(), None, now)
        now = max(now + 0.001, min(each.wake_at(now), 20.0))
    assert 5 < asked < 30
