"""What the live source finds in a real store and a real error-handling system, and does to them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from holdfast.apps.dashboard.live_errors import breakers_of, errors_of, force, level_of, set_level
from holdfast.apps.dashboard.live_jobs import LiveJobs, attempts_of, failure_of, workflow_of
from holdfast.apps.dashboard.live_servers import Ticker, memory_of, view_of
from holdfast.apps.dashboard.live_source import LiveSource
from holdfast.comfyui import ComfyUI, events
from holdfast.comfyui.status import ServerState, ServerStatus
from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError, ErrorCategory, ErrorSeverity
from holdfast.stores.jobs import JobState, JobStore, NewFile, NewJob
from holdfast.system.error_handling import ErrorHandlingSystem

PICTURE = NewFile("9", "a.png", "a" * 64, 10, "image/png", width=4, height=4)
DRAWING = NewFile("9", "b.svg", "b" * 64, 10, "image/svg+xml")


@pytest.fixture
def store(tmp_path):
    made = JobStore(tmp_path / "jobs.db")
    yield made
    made.close()


@pytest.fixture
def live(store):
    return LiveJobs(store)


def accept(store, name="", **what):
    (job,) = store.accept([NewJob(payload={"graph": {"1": {}}}, name=name, **what)]).result()
    return job


def settle(store, end, outcome=None, files=(), summary=""):
    (claim,) = store.claim("worker").result()
    done, _ = store.settle(
        claim.job.id, claim.fence, end, outcome or {}, files=files, summary=summary
    ).result()
    return done


def test_jobs_come_in_pages_with_the_number_of_all(store, live):
    for number in range(5):
        accept(store, f"job {number}")
    first = live.page(None, "", "", None, 3)
    assert [row.name for row in first.rows] == ["job 4", "job 3", "job 2"]
    assert first.counts["queued"] == 5
    second = live.page(None, "", "", first.older, 3)
    assert [row.name for row in second.rows] == ["job 1", "job 0"]
    assert second.older is None


def test_jobs_are_found_by_state_and_by_words_and_only_ones_own(store, live):
    accept(store, "red", user="ada", prompt="a lighthouse")
    accept(store, "blue", user="bob", prompt="a lighthouse")
    assert len(live.page(None, "queued", "LIGHT", None, 9).rows) == 2
    assert [row.name for row in live.page("ada", "", "light", None, 9).rows] == ["red"]
    assert live.page(None, "failed", "", None, 9).rows == ()
    assert live.page("ada", "no such state", "", None, 9).counts["queued"] == 1


def test_a_job_has_its_first_picture_and_its_files_are_its_owners(store, live):
    accept(store, user="ada")
    done = settle(store, JobState.DELIVERED, files=[DRAWING, PICTURE])
    (row,) = live.page(None, "", "", None, 9).rows
    assert row.thumb == PICTURE.sha256
    assert live.owns_file(PICTURE.sha256, "ada")
    assert live.owns_file(PICTURE.sha256, None)
    assert not live.owns_file(PICTURE.sha256, "bob")
    assert not live.owns_file("c" * 64, None)
    detail = live.detail(done.id, "ada")
    assert [file.is_picture for file in detail.files] == [False, True]


def test_a_job_of_another_user_is_as_one_that_is_not_there(store, live):
    job = accept(store, user="ada")
    assert live.detail(job.id, "bob") is None
    assert live.detail("nonsense", None) is None
    for act in (live.cancel, live.retry):
        with pytest.raises(BadInputError, match="there is no job"):
            act(job.id, "bob")
    with pytest.raises(BadInputError, match="there is no job"):
        live.set_priority(job.id, 3, "bob")
    assert store.job(job.id).state is JobState.QUEUED


def test_a_job_is_cancelled_ranked_and_retried_where_that_makes_sense(store, live):
    job = accept(store)
    assert "priority 4" in live.set_priority(job.id, 4, None)
    with pytest.raises(BadInputError, match="only a failed or cancelled job"):
        live.retry(job.id, None)
    assert live.cancel(job.id, None) == "The job is cancelled"
    with pytest.raises(BadInputError, match="it is cancelled"):
        live.cancel(job.id, None)
    with pytest.raises(BadInputError, match="only a job that waits"):
        live.set_priority(job.id, 1, None)
    live.retry(job.id, None)
    assert store.job(job.id).state is JobState.QUEUED


def test_a_running_job_is_asked_to_end_and_says_so(store, live):
    job = accept(store)
    store.claim("worker").result()
    assert "will be cancelled" in live.cancel(job.id, None)
    assert live.detail(job.id, None).row.cancelling


def test_all_dead_letters_of_a_user_are_queued_again(store, live):
    for user in ("ada", "bob", "ada"):
        accept(store, user=user)
        settle(store, JobState.FAILED, summary="why")
    assert live.retry_all("ada") == "2 jobs are queued again"
    assert [row.user for row in live.page(None, "failed", "", None, 9).rows] == ["bob"]


def test_the_queue_is_paused_with_a_reason(store, live):
    live.pause("new drivers")
    assert live.overview(None).paused == "new drivers"
    live.resume()
    assert live.overview(None).paused is None


def test_the_overview_counts_what_ended_by_the_minute(store, live):
    for end in (JobState.DELIVERED, JobState.DELIVERED, JobState.FAILED):
        accept(store)
        settle(store, end)
    series = live.overview(None).series
    assert (sum(series.delivered), sum(series.failed)) == (2, 1)


def test_an_outcome_of_any_shape_is_told():
    for odd in (None, 3, "x", [], [1, "a", {}], {"a": 1}):
        assert isinstance(attempts_of({"attempts": odd}), tuple)
        failure_of(odd)
    assert failure_of({"message": "no", "traceback": "a\nb"}).traceback == ("a", "b")
    (one,) = attempts_of({"attempts": [{"number": "x", "server": None, "seconds": "y"}]})
    assert (one.number, one.server, one.seconds, one.error) == (1, "", None, "")
    assert workflow_of(None) == ""
    assert workflow_of({"graph": {"1": "x" * 300_000}}).endswith("(cut)")


def test_errors_stand_in_groups_with_what_was_done():
    system = ErrorHandlingSystem()
    for helped in (True, False, True):
        number = system.error_analytics.record_error(
            ErrorInfo(datetime.now(UTC), "OutOfMemoryError", "no memory", ErrorCategory.MEMORY,
                      ErrorSeverity.HIGH, recovery_attempted=True, dependency="gpu1")
        )  # fmt: skip
        system.error_analytics.resolve(number, strategy="free_memory", successful=helped)
        system.error_analytics.record_recovery("free_memory", ErrorCategory.MEMORY, helped, 0.5)
    told = errors_of(system.error_analytics)
    (group,) = told.groups
    assert (group.count, group.done) == (3, (("free_memory", 3, 2),))
    assert group.dependencies == (("gpu1", 3),)
    assert told.categories == (("memory", 3),)
    assert told.recovery_rate == pytest.approx(2 / 3)
    (strategy,) = told.strategies
    assert (strategy.attempted, strategy.successful) == (3, 2)
    assert strategy.seconds == pytest.approx(0.5, rel=0.02)


def test_breakers_are_moved_by_hand():
    system = ErrorHandlingSystem()
    breaker = system.get_circuit_breaker("hub")
    force(system.circuit_breakers, "hub", "open")
    (view,) = breakers_of(system.circuit_breakers)
    assert (view.state, view.retry_in) == ("forced_open", None)
    force(system.circuit_breakers, "hub", "closed")
    assert breaker.state == "closed"
    breaker.trip()
    force(system.circuit_breakers, "hub", "reset")
    assert breaker.state == "closed"
    for name, how in (("nobody", "open"), ("hub", "ajar")):
        with pytest.raises(BadInputError):
            force(system.circuit_breakers, name, how)


def test_the_level_is_set_and_held_until_it_is_let_go():
    degradation = ErrorHandlingSystem().graceful_degradation
    set_level(degradation, "low", pinned=True)
    told = level_of(degradation)
    assert (told.level, told.pinned) == ("low", True)
    assert told.changes[0][1:] == ("the whole service: full to low", "set on the dashboard")
    set_level(degradation, "full", pinned=False)
    assert not level_of(degradation).pinned
    with pytest.raises(BadInputError):
        set_level(degradation, "splendid", pinned=False)


def test_what_a_server_does_is_heard_and_forgotten():
    ticker = Ticker()
    ticker.hear(events.AttemptStarted("shot", "gpu1", 1))
    ticker.hear(events.NodeStarted("shot", "gpu1", "3", "KSampler"))
    ticker.hear(events.NodeStepped("shot", "gpu1", "3", 5, 20))
    ticker.hear(events.NodeStepped("another", "gpu1", "3", 20, 20))
    work = ticker.work("gpu1")
    assert (work.words, work.progress) == ("shot · KSampler", 0.25)
    view = view_of(server("gpu1", busy=1), work, (1, 2))
    assert (view.doing, view.progress, view.memory_used) == ("shot · KSampler", 0.25, 1)
    assert view_of(server("gpu1", busy=0), work, None).doing == ""
    ticker.hear(events.ServerDown("gpu1", "gone", 5.0))
    assert ticker.work("gpu1") is None


def test_memory_is_read_from_whatever_a_server_says():
    assert memory_of({"devices": [{"vram_total": 10, "vram_free": 4}]}) == (6, 10)
    assert memory_of({"devices": [{"vram_total": 10, "vram_free": 40}]}) == (0, 10)
    for odd in ({}, {"devices": None}, {"devices": [1, {"vram_total": "x"}]}):
        assert memory_of(odd) is None


async def test_the_source_answers_while_its_servers_are_away(store):
    system = ErrorHandlingSystem()
    async with ComfyUI("http://127.0.0.1:9") as comfy:
        source = LiveSource(store, comfy, system, server_breakers=lambda: comfy.breakers)
        (view,) = await source.servers()
        assert view.memory_total is None
        assert [each.name for each in await source.breakers()] == ["http://127.0.0.1:9"]
        await source.force_breaker("http://127.0.0.1:9", "open")
        assert (await source.breakers())[0].state == "forced_open"
        await source.add_server("http://127.0.0.1:7")
        await source.remove_server("http://127.0.0.1:9")
        with pytest.raises(BadInputError):
            await source.add_server("not an address")
        await asyncio.sleep(0)
        assert (await source.overview(None)).counts["queued"] == 0
        assert (await source.jobs(None)).rows == ()
        assert await source.job("x", None) is None
        assert (await source.errors()).total == 0
        assert (await source.level()).level == "full"


def server(name: str, busy: int) -> ServerStatus:
    return ServerStatus(name, ServerState.UP, "", busy, 1, 0, 3, 1, 2.5, 1.0, (), "closed", 0.0)
