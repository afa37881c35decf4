"""What is tried next, rule by rule, and that trying always comes to an end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.plan import Again, GiveUp, Limits, Offer, Remedy, Situation, Step, next_step
from holdfast.policies.retry import Backoff, Retry

A, B, C = "http://a:8188", "http://b:8188", "http://c:8188"
LIMITS = Limits()
SERVERS_FAULTS = [
    FailureKind.SERVER_DIED,
    FailureKind.STALLED,
    FailureKind.LOST,
    FailureKind.NEVER_ACCEPTED,
    FailureKind.SERVER_ERROR,
    FailureKind.UNREACHABLE,
]
JOBS_FAULTS = [
    FailureKind.NODE_ERROR,
    FailureKind.NOTHING_MADE,
    FailureKind.OUTPUT_MISSING,
    FailureKind.OUTPUT_DAMAGED,
]


def failed(kind: FailureKind, server: str = A, message: str = "boom", **fields) -> Failure:
    """An attempt's failure."""
    return Failure(kind, message, server, **fields)


def node_error(server: str = A, message: str = "boom", **fields) -> Failure:
    """A node raised."""
    return failed(FailureKind.NODE_ERROR, server, message, node_id="5", **fields)


def oom(server: str = A) -> Failure:
    """A node ran out of memory."""
    return failed(FailureKind.OUT_OF_MEMORY, server, node_id="5")


def rejected(server: str = A, *, elsewhere: bool = True) -> Failure:
    """The server refused the workflow."""
    return failed(FailureKind.REJECTED, server, elsewhere=elsewhere)


def after(*failures: Failure, servers: Sequence[str] = (A, B), **settings) -> Step:
    """What follows these failures."""
    limits = settings.pop("limits", LIMITS)
    return next_step(failures, servers, limits, settings.pop("chance", 0.5), **settings)


def again(*failures: Failure, **settings) -> Again:
    """What follows, which must be another try."""
    step = after(*failures, **settings)
    assert isinstance(step, Again)
    return step


def given_up(*failures: Failure, **settings) -> GiveUp:
    """What follows, which must be the end."""
    step = after(*failures, **settings)
    assert isinstance(step, GiveUp)
    return step


# Rejections -----------------------------------------------------------------------------


def test_a_workflow_that_is_wrong_is_given_up_at_once():
    failure = rejected(elsewhere=False)
    assert given_up(failure).failure is failure


def test_a_workflow_one_server_cannot_run_goes_to_another():
    step = again(rejected(A))
    assert step.never == {A}
    assert step.wait == 0.0


def test_a_workflow_no_server_can_run_is_given_up():
    assert given_up(rejected(A), rejected(B)).failure.kind is FailureKind.REJECTED
    assert given_up(rejected(A), servers=[A]).failure.kind is FailureKind.REJECTED


def test_servers_that_rejected_it_are_never_asked_again_whatever_happens_later():
    servers = [A, B, C]
    for later in (
        failed(FailureKind.SERVER_DIED, B),
        failed(FailureKind.INTERRUPTED, B),
        node_error(B),
        oom(B),
        failed(FailureKind.NOTHING_MADE, B),
    ):
        step = again(rejected(A), later, servers=servers)
        assert A in step.never, later.kind


def test_what_is_no_comfyui_is_left_alone():
    assert again(failed(FailureKind.NOT_COMFYUI, A)).never == {A}
    last = given_up(rejected(A), failed(FailureKind.NOT_COMFYUI, B))
    assert last.failure.kind is FailureKind.REJECTED
    alien = given_up(failed(FailureKind.NOT_COMFYUI, A), servers=[A])
    assert alien.failure.kind is FailureKind.NOT_COMFYUI


def test_nothing_is_tried_after_the_deadline():
    assert given_up(failed(FailureKind.DEADLINE)).failure.kind is FailureKind.DEADLINE


# Memory ---------------------------------------------------------------------------------


def test_out_of_memory_is_tried_unchanged_then_unloaded_then_elsewhere():
    first, second, third = again(oom()), again(oom(), oom()), again(oom(), oom(), oom())
    assert (first.prefer, first.remedy) == (A, Remedy.NONE)
    assert (second.prefer, second.remedy) == (A, Remedy.UNLOAD_MODELS)
    assert third.prefer is None
    assert third.never == {A}


def test_what_fits_into_no_server_is_given_up():
    assert given_up(*[oom()] * 3, servers=[A]).failure.kind is FailureKind.OUT_OF_MEMORY
    step = given_up(*[oom(A)] * 3, *[oom(B)] * 3)
    assert step.failure.kind is FailureKind.OUT_OF_MEMORY
    assert "memory" in step.words


def test_memory_is_counted_for_each_server_by_itself():
    step = again(*[oom(A)] * 3, oom(B))
    assert (step.prefer, step.remedy) == (B, Remedy.NONE)


def test_servers_too_small_and_servers_unable_are_both_left_out():
    step = again(rejected(A), *[oom(B)] * 3, servers=[A, B, C])
    assert step.never == {A, B}
    given_up(rejected(A), *[oom(B)] * 3, servers=[A, B])


# Interruptions --------------------------------------------------------------------------


def test_an_interruption_is_undone_until_it_is_taken_as_meant():
    stop = failed(FailureKind.INTERRUPTED)
    assert again(stop).wait == 0.0
    again(stop, stop)
    assert "3 times" in given_up(stop, stop, stop).words


# The servers' own fault -----------------------------------------------------------------


@pytest.mark.parametrize("kind", SERVERS_FAULTS)
def test_a_servers_own_fault_is_repeated_elsewhere_or_later(kind):
    step = again(failed(kind))
    assert step.avoid == {A}
    assert step.never == frozenset()
    assert step.prefer is None
    assert step.wait > 0.0


def test_waits_for_servers_grow_with_their_faults():
    fault = failed(FailureKind.SERVER_ERROR)
    waits = [again(*[fault] * times).wait for times in range(1, 8)]
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]


def test_a_servers_wish_to_be_left_alone_is_honoured():
    assert again(failed(FailureKind.SERVER_ERROR, retry_after=42.0)).wait == 42.0


def test_servers_faults_end_somewhere():
    limits = Limits(server=Retry(4, Backoff(0.0, maximum=1.0)))
    fault = failed(FailureKind.SERVER_ERROR)
    again(*[fault] * 3, limits=limits)
    assert "4 attempts" in given_up(*[fault] * 4, limits=limits).words


def test_no_wait_is_begun_that_would_outlast_the_deadline():
    fault = failed(FailureKind.SERVER_ERROR, retry_after=30.0)
    assert again(fault, servers=[A], left=40.0).wait == 30.0
    given_up(fault, servers=[A], left=20.0)


def test_one_servers_wish_to_wait_past_the_deadline_does_not_keep_the_job_from_others():
    step = again(failed(FailureKind.SERVER_ERROR, retry_after=30.0), left=20.0)
    assert A in step.avoid | step.never


def test_a_job_under_which_servers_keep_dying_is_stopped():
    deaths = [failed(FailureKind.SERVER_DIED, each, node_id="5") for each in (A, B) * 3]
    again(*deaths[:4])
    step = given_up(*deaths[:5])
    assert "5 servers died" in step.words
    assert step.failure.kind is FailureKind.POISONED


def test_servers_that_die_while_the_job_waits_are_not_held_against_it():
    deaths = [failed(FailureKind.SERVER_DIED, each) for each in (A, B) * 5]
    again(*deaths)


# Changing the workflow ------------------------------------------------------------------

TILED = Offer("in tiles", early=True, local=True)
CONTEXT = Offer("in windows", early=True)
SMALLER = Offer("smaller")


def knowing(forms: Sequence[int] = (), offer: Offer | None = None, **memory: int) -> Situation:
    """What is known; memory by the servers' short names."""
    names = {"a": A, "b": B, "c": C}
    return Situation(tuple(forms), {names[key]: value for key, value in memory.items()}, offer)


def test_memory_that_runs_out_is_first_met_unchanged_whatever_could_be_changed():
    step = again(oom(), situation=knowing([0], TILED))
    assert (step.prefer, step.change, step.remedy) == (A, False, Remedy.NONE)


def test_only_the_node_that_failed_is_changed_while_its_cache_is_still_there():
    step = again(oom(), oom(), situation=knowing([0, 0], TILED))
    assert (step.prefer, step.change, step.remedy) == (A, True, Remedy.UNLOAD_MODELS)


def test_what_changes_the_result_waits_until_other_servers_were_tried():
    step = again(oom(), oom(), oom(), situation=knowing([0, 0, 0], SMALLER))
    assert not step.change
    assert step.never == {A}
    step = again(*[oom()] * 3, *[oom(B)] * 3, situation=knowing([0] * 6, SMALLER))
    assert (step.prefer, step.change) == (B, True)


def test_a_server_with_less_memory_is_not_tried_after_one_with_more():
    step = again(*[oom()] * 3, situation=knowing([0] * 3, SMALLER, a=24, b=8))
    assert (step.prefer, step.change) == (A, True)


def test_the_server_with_the_most_memory_is_tried_first():
    step = again(
        *[oom()] * 3, servers=[A, B, C], situation=knowing([0] * 3, SMALLER, a=8, b=12, c=24)
    )
    assert (step.never, step.avoid) == ({A}, {B})


def test_one_change_follows_another_until_none_is_left():
    tried = [oom()] * 4
    step = again(*tried, servers=[A], situation=knowing([0, 0, 0, 1], SMALLER))
    assert (step.prefer, step.change) == (A, True)
    end = given_up(*tried, servers=[A], situation=knowing([0, 0, 0, 1], None))
    assert "does not fit" in end.words


def test_changes_are_limited():
    forms = [0, 0, 0, *range(1, LIMITS.changes + 1)]
    given_up(*[oom()] * len(forms), servers=[A], situation=knowing(forms, SMALLER))


def test_a_refused_workflow_is_changed_at_once_if_that_keeps_the_result():
    step = again(rejected(A), situation=knowing([0], CONTEXT))
    assert (step.prefer, step.change) == (A, True)


def test_a_refused_workflow_is_changed_otherwise_only_when_no_server_takes_it():
    assert not again(rejected(A), situation=knowing([0], SMALLER)).change
    assert again(rejected(A), rejected(B), situation=knowing([0, 0], SMALLER)).change


def test_a_node_that_fails_everywhere_is_gone_without_if_that_is_offered():
    failures = [node_error(A), node_error(A), node_error(B)]
    assert again(*failures, situation=knowing([0, 0, 0], SMALLER)).change
    given_up(*failures)


def test_a_job_under_which_two_servers_died_is_made_to_need_less_memory():
    deaths = [failed(FailureKind.SERVER_DIED, each, node_id="5") for each in (A, B)]
    assert not again(deaths[0], situation=knowing([0], TILED)).change
    assert again(*deaths, situation=knowing([0, 0], TILED)).change
    assert not again(*deaths, situation=knowing([0, 0], SMALLER)).change


# The job's own fault --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        (FailureKind.NODE_ERROR, Remedy.NONE),
        (FailureKind.NOTHING_MADE, Remedy.RUN_AGAIN),
        (FailureKind.OUTPUT_MISSING, Remedy.SAVE_AGAIN),
        (FailureKind.OUTPUT_DAMAGED, Remedy.SAVE_AGAIN),
    ],
)
def test_a_jobs_fault_is_tried_once_more_where_its_cache_is(kind, remedy):
    step = again(failed(kind))
    assert (step.prefer, step.remedy, step.wait) == (A, remedy, 0.0)


@pytest.mark.parametrize("kind", JOBS_FAULTS)
def test_a_fault_that_repeats_on_one_server_goes_to_another(kind):
    step = again(failed(kind), failed(kind))
    assert step.prefer is None
    assert A in step.never


@pytest.mark.parametrize("kind", JOBS_FAULTS)
def test_a_fault_that_repeats_on_the_only_server_is_the_end(kind):
    given_up(failed(kind), failed(kind), servers=[A])


@pytest.mark.parametrize("kind", JOBS_FAULTS)
def test_the_same_fault_on_two_servers_is_the_workflows_own(kind):
    step = given_up(failed(kind, A), failed(kind, A), failed(kind, B))
    assert "two servers" in step.words


def test_faults_that_differ_only_in_numbers_are_the_same():
    step = again(node_error(message="at 0x7f10"), node_error(message="at 0x55aa"))
    assert A in step.never


def test_ever_new_faults_end_somewhere():
    faults = [node_error(message="boom " + "x" * n) for n in range(LIMITS.node_attempts)]
    again(*faults[:-1])
    assert f"{LIMITS.node_attempts} attempts" in given_up(*faults).words


def test_what_lies_in_a_server_goes_to_another_at_once():
    step = again(node_error(elsewhere=True))
    assert step.prefer is None
    assert A in step.never


def test_what_lies_in_the_only_server_is_tried_once_more_there():
    full = node_error(elsewhere=True)
    assert again(full, servers=[A]).prefer == A
    given_up(full, full, servers=[A])


def test_full_disks_everywhere_end_the_job():
    servers = [f"http://s{n}:8188" for n in range(10)]
    faults = [node_error(each, elsewhere=True) for each in servers]
    for number in range(1, len(servers)):
        assert again(*faults[:number], servers=servers).never == set(servers[:number])
    assert run(servers, lambda _number, server: node_error(server, elsewhere=True)) <= 20


@pytest.mark.parametrize("servers", [[A], [A, B], [A, B, C]])
def test_a_full_disk_that_words_itself_anew_each_time_ends_the_job_too(servers):
    # "No space left on device: '/tmp/tmpqzkfwhvb'": only the random name differs.
    def fault(number: int, server: str) -> Failure:
        return node_error(
            server, "no space for tmp" + "abcdefghij"[number % 10] * number, elsewhere=True
        )

    assert run(servers, fault) < 100


def test_a_full_disk_here_and_too_little_memory_there_end_the_job():
    def fault(_number: int, server: str) -> Failure:
        return node_error(A, elsewhere=True) if server == A else oom(server)

    assert run([A, B], fault) < 20
    assert run([B, A], fault) < 20


# It always ends -------------------------------------------------------------------------


def run(
    servers: Sequence[str],
    fault: Callable[[int, str], Failure],
    *,
    pick: Callable[[list[str]], str] = lambda allowed: allowed[0],
    down: Callable[[int], bool] = lambda _number: False,
    most: int = 200,
    offers: Sequence[Offer] = (),
) -> int:
    """Follow the plan until it gives up or no server is left; the number of attempts."""
    failures: list[Failure] = []
    forms: list[int] = []
    form = 0
    step: Step = Again("first attempt")
    while isinstance(step, Again):
        assert len(failures) < most, "it never ends"
        allowed = [each for each in servers if each not in step.never]
        assert allowed, "it proposes servers, but excludes them all"
        assert step.prefer is None or step.prefer in allowed
        assert step.wait >= 0.0
        gentle = [each for each in allowed if each not in step.avoid] or allowed
        up = step.prefer is not None and not down(len(failures))
        server = step.prefer if up and step.prefer is not None else pick(gentle)
        if step.change:
            form += 1
        failures.append(fault(len(failures), server))
        forms.append(form)
        offer = offers[form] if form < len(offers) else None
        step = next_step(
            failures, servers, LIMITS, 0.5, situation=Situation(tuple(forms), {}, offer)
        )
    assert step.failure in failures or step.failure.kind is FailureKind.POISONED
    assert step.words
    return len(failures)


makers = st.lists(
    st.builds(
        lambda kind, elsewhere, message, node_id: (kind, elsewhere, message, node_id),
        st.sampled_from(list(FailureKind)),
        st.booleans(),
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from([None, "5"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    servers=st.sampled_from([[A], [A, B], [A, B, C], [f"http://s{n}" for n in range(6)]]),
    shapes=makers,
    by_server=st.booleans(),
    choice=st.integers(0, 5),
    downs=st.sets(st.integers(0, 60)),
    offers=st.lists(st.builds(Offer, st.just("less"), st.booleans(), st.booleans()), max_size=40),
)
def test_whatever_goes_wrong_trying_ends(servers, shapes, *, by_server, choice, downs, offers):
    def fault(number: int, server: str) -> Failure:
        index = servers.index(server) if by_server else number
        kind, elsewhere, message, node_id = shapes[index % len(shapes)]
        return failed(kind, server, message, elsewhere=elsewhere, node_id=node_id)

    attempts = run(
        servers,
        fault,
        pick=lambda allowed: allowed[choice % len(allowed)],
        down=lambda number: number in downs,
        offers=offers,
    )
    changes = min(len(offers), LIMITS.changes)
    assert attempts <= 30 + 6 + 3 + (4 + changes) * len(servers) + 30 + changes


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    failures=st.lists(
        st.builds(
            Failure,
            st.sampled_from(list(FailureKind)),
            st.sampled_from(["one", "two 7", "two 8"]),
            st.sampled_from([A, B, C]),
            elsewhere=st.booleans(),
            retry_after=st.none() | st.floats(0.0, 100.0),
        ),
        min_size=1,
        max_size=20,
    ),
    chance=st.floats(0.0, 1.0, exclude_max=True),
    left=st.none() | st.floats(-5.0, 1_000.0),
)
def test_no_step_contradicts_itself(failures, chance, left):
    step = next_step(failures, [A, B, C], LIMITS, chance, left=left)
    assert step.words
    if isinstance(step, GiveUp):
        assert step.failure in failures or step.failure.kind is FailureKind.POISONED
        return
    assert step.prefer not in step.never
    assert step.prefer not in step.avoid
    assert 0.0 <= step.wait <= 120.0
