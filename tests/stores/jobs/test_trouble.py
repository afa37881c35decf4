"""Bad rows, bad values, changed dates, files that vanish: said, and nobody else stopped."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time

import pytest
import sqlalchemy as sa

from holdfast.errors import BadInputError
from holdfast.stores.jobs import (
    JobState,
    JobStore,
    LeaseLostError,
    NewJob,
    QueueFullError,
    StoreUnavailableError,
    Submitted,
    tables,
)
from holdfast.stores.jobs.opening import Writer
from holdfast.testing import FakeClock


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


def change(path, statement, *values):
    with sqlite3.connect(path) as file:
        file.execute(statement, values)
    file.close()


# -- damaged rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", ["{no json", "[1]", "null", "", b"\xff\xfe{}"])
def test_a_payload_that_is_damaged_is_a_dead_letter_and_the_next_job_goes_on(path, payload):
    store = JobStore(path)
    store.accept([NewJob({"n": n}, id=f"job-{n}") for n in range(3)]).result()
    change(path, "UPDATE job_body SET payload = ? WHERE job = 'job-0'", payload)
    given = store.claim("w", 2).result()
    assert [claim.job.id for claim in given] == ["job-1", "job-2"]
    job = store.job("job-0")
    assert (job.state, job.summary) == (
        JobState.FAILED,
        "what it was to run is damaged in the store",
    )
    assert store.outcome("job-0")["failure"]["kind"] == "damaged"
    assert store.body("job-0") is None
    assert store.close()


def test_a_job_without_a_payload_is_a_dead_letter(path):
    store = JobStore(path)
    store.accept([NewJob({"n": n}, id=f"job-{n}") for n in range(2)]).result()
    change(path, "DELETE FROM job_body WHERE job = 'job-0'")
    assert [claim.job.id for claim in store.claim("w").result()] == ["job-1"]
    assert store.outcome("job-0")["failure"]["kind"] == "damaged"
    assert store.close()


COLUMNS = [column.name for column in tables.job.columns if column.name != "id"]


@pytest.mark.parametrize("value", ["nonsense", b"\xff\x00\xfe", -1.5])
@pytest.mark.parametrize("column", COLUMNS)
def test_whatever_is_damaged_in_one_job_the_others_are_listed_and_done(path, column, value):
    store = JobStore(path)
    store.accept([NewJob({"n": n}, id=f"job-{n}") for n in range(3)]).result()
    (first,) = store.claim("w").result()
    damage = f'UPDATE job SET "{column}" = ? WHERE id = ?'  # noqa: S608 - a column of ours
    change(path, damage, value, first.job.id)
    listed = {job.id for job in store.jobs()}
    assert listed == {"job-0", "job-1", "job-2"}
    done = set()
    for _ in range(3):
        for claim in store.claim("w").result():
            if claim.job.id != first.job.id:
                store.settle(claim.job.id, claim.fence, JobState.DELIVERED, {}).result()
                done.add(claim.job.id)
    assert done == {"job-1", "job-2"}
    assert sum(store.counts().values()) == 3
    assert isinstance(store.eta(), float | None)
    assert store.close()


def test_a_state_that_nobody_knows_counts_as_failed_and_can_be_retried(path):
    store = JobStore(path)
    store.accept([NewJob({"n": 1}, id="odd")]).result()
    change(path, "UPDATE job SET state = 'exploded'")
    assert store.claim("w").result() == ()
    assert store.job("odd").state is JobState.FAILED
    assert store.counts()[JobState.FAILED] == 1
    assert store.retry("odd").result().state is JobState.QUEUED
    assert [claim.job.id for claim in store.claim("w").result()] == ["odd"]
    assert store.close()


# -- bad values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("payload", []),
        ("payload", {"n": float("nan")}),
        ("payload", {"x": object()}),
        ("priority", 10**9),
        ("priority", True),
        ("priority", "1"),
        ("deadline", float("inf")),
        ("deadline", "now"),
        ("deadline", 1e300),
        ("name", "x" * 201),
        ("key", "a\x00b"),
        ("id", "\ud800"),
        ("user", None),
        ("prompt", None),
        ("seed", 7),
        ("model", b"x"),
    ],
)
def test_a_bad_job_is_refused_before_it_is_asked_for(store, field, value):
    with pytest.raises(BadInputError, match=f"^{field} must be "):
        store.accept([NewJob(**{"payload": {}, field: value})])
    assert store.jobs() == []


@pytest.mark.parametrize("text", ["a\x00b", "\ud800", "x" * 5_000])
def test_asking_for_what_no_database_keeps_finds_nothing_or_is_bad_input(store, text):
    for ask in (
        store.job,
        store.body,
        store.story,
        store.find_file,
        lambda text: store.jobs(search=text),
        lambda text: store.jobs(user=text, order=text),
        lambda text: store.cancel(text).result(),
        lambda text: store.claim(text).result(),
        lambda text: store.hide([text]).result(),
        lambda text: store.record(text, text).result(),
        lambda text: store.set_priority(text, 1).result(),
    ):
        with contextlib.suppress(BadInputError):
            assert not ask(text)
    for number in (10**30, -(10**30)):
        with pytest.raises(BadInputError):
            store.jobs(before=number)
        with pytest.raises(BadInputError):
            store.set_priority("x", number)


def test_what_one_caller_asks_wrongly_costs_the_others_of_its_group_nothing(store):
    hold = threading.Event()
    blocked = store.write(lambda _on, _now: hold.wait(10))
    good = [store.accept([NewJob({"n": n})]) for n in range(5)]
    bad = store.record("\ud800", "x\x00")
    clash = [store.accept([NewJob({"n": n}, id="clash")]) for n in range(2)]
    hold.set()
    assert blocked.result()
    assert [future.exception() for future in good] == [None] * 5
    assert isinstance(bad.exception(), BadInputError)
    assert clash[0].exception() is None
    assert isinstance(clash[1].exception(), BadInputError)


def test_the_same_key_or_id_twice_in_one_breath_is_one_job(store):
    same = NewJob({"n": 1}, id="mine")
    keyed = [NewJob({"n": n}, key="k", user="ann") for n in range(3)]
    jobs = store.accept([same, same, *keyed, NewJob({}, key="k", user="bob")]).result()
    assert [job.id == "mine" for job in jobs] == [True, True, False, False, False, False]
    assert len({job.id for job in jobs}) == 3
    assert len(store.jobs()) == 3
    with pytest.raises(BadInputError, match="id 'mine' belongs to another job"):
        store.accept([NewJob({"n": 2}, id="mine")]).result()


def test_thousands_in_one_call_are_fine(store):
    jobs = store.accept([NewJob({"n": n}, id=f"j{n}", key=f"k{n}") for n in range(3_000)]).result()
    assert [job.number for job in jobs] == list(range(1, 3_001))
    again = store.accept([NewJob({"n": n}, id=f"j{n}", key=f"k{n}") for n in range(3_000)])
    assert again.result() == jobs
    assert store.counts()[JobState.QUEUED] == 3_000
    many = [f"j{n}" for n in range(40_000)]
    assert len(store.bodies(many)) == 3_000
    assert store.used_blobs(many) == set()
    assert store.hide(many).result() == 0
    assert len(store.renew(dict.fromkeys(many, 1)).result().lost) == 40_000


def test_a_full_queue_says_when_to_come_again_and_takes_jobs_once_there_is_room(open_store):
    store = open_store(max_queued=3, max_queued_per_user=2)
    store.accept([NewJob({}, user="ann"), NewJob({}, user="ann")]).result()
    with pytest.raises(QueueFullError, match="2 jobs of this user") as raised:
        store.accept([NewJob({}, user="ann")]).result()
    assert raised.value.retry_after > 0
    with pytest.raises(QueueFullError, match="at most 3 may wait"):
        store.accept([NewJob({}, user="bob"), NewJob({}, user="cy")]).result()
    (claim,) = store.claim("w").result()
    store.settle(claim.job.id, claim.fence, JobState.DELIVERED, {}).result()
    store.accept([NewJob({}, user="ann")]).result()
    assert store.counts()[JobState.QUEUED] == 2


def test_a_thousand_that_are_too_late_are_not_given_out(store, clock):
    late = clock.wall() + 5
    store.accept([NewJob({}, deadline=late) for _ in range(300)]).result()
    store.accept([NewJob({"n": 1}, id="in time")]).result()
    clock.advance(6)
    assert [claim.job.id for claim in store.claim("w", 5).result()] == ["in time"]
    assert store.counts()[JobState.FAILED] == 300


# -- dates that are changed ------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [-86_400 * 365, -45, -10, 5, 45, 86_400 * 365])
def test_when_the_date_is_changed_who_lives_keeps_the_job_and_who_is_gone_loses_it(
    store, clock, jump
):
    store.accept([NewJob({"n": 1}), NewJob({"n": 2})]).result()
    alive, dead = store.claim("w", 2).result()
    store.claim("other").result()
    clock.set_wall(clock.wall() + jump)
    taken = []
    for _ in range(12):
        taken += [claim.job.id for claim in store.claim("other", 5).result()]
        clock.advance(10)
        assert not store.renew({alive.job.id: alive.fence}).result().lost
    assert taken == [dead.job.id] * len(taken)
    assert taken
    store.settle(alive.job.id, alive.fence, JobState.DELIVERED, {}).result()
    with pytest.raises(LeaseLostError):
        store.settle(dead.job.id, dead.fence, JobState.DELIVERED, {}).result()


# -- files and disks -------------------------------------------------------------------------------


def test_a_file_that_is_removed_or_replaced_in_use_takes_no_more_jobs(path):
    store = JobStore(path)
    store.accept([NewJob({})]).result()
    for file in path.parent.glob("jobs.db*"):
        file.unlink()
    with pytest.raises(StoreUnavailableError, match="was removed or replaced while it was in use"):
        store.accept([NewJob({})]).result()
    JobStore(path).close()
    with pytest.raises(StoreUnavailableError, match="was removed or replaced"):
        store.accept([NewJob({})]).result()
    store.close()


def test_a_slow_disk_delays_and_loses_nothing(store, monkeypatch):
    real = Writer.transaction

    def slow(writer):
        time.sleep(0.15)
        return real(writer)

    monkeypatch.setattr(Writer, "transaction", slow)
    asked = [store.accept([NewJob({"n": n})]) for n in range(300)]
    numbers = [future.result(30)[0].number for future in asked]
    assert numbers == list(range(1, 301))


def test_a_file_that_others_lock_for_long_is_a_clear_error_and_is_used_afterwards(path):
    store = JobStore(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match="locked by another process"):
        store.accept([NewJob({})]).result(20)
    other.execute("ROLLBACK")
    other.close()
    assert store.accept([NewJob({})]).result(10)[0].number == 1
    assert store.close()


def test_a_database_that_may_not_grow_refuses_and_goes_on_with_what_fits(path):
    store = JobStore(path)
    limit = sa.event.listens_for(store.engine, "begin")

    @limit
    def _limit(connection):
        connection.exec_driver_sql("PRAGMA max_page_count=120")

    with pytest.raises(StoreUnavailableError, match="there is no room left to write"):
        store.accept([NewJob({"x": "y" * 2_000_000})]).result()
    assert store.accept([NewJob({"n": 1})]).result()[0].number == 1
    assert len(store.jobs()) == 1
    assert store.close()


def test_a_disk_that_becomes_read_only_refuses_and_can_still_be_read(path):
    store = JobStore(path)
    store.accept([NewJob({"n": 1})]).result()
    listen = ("begin", lambda connection: connection.exec_driver_sql("PRAGMA query_only=1"))
    sa.event.listen(store.engine, *listen)
    with pytest.raises(StoreUnavailableError, match="cannot be opened or written"):
        store.accept([NewJob({"n": 2})]).result()
    assert len(store.jobs()) == 1
    sa.event.remove(store.engine, *listen)
    store.engine.dispose()
    assert store.accept([NewJob({"n": 2})]).result()[0].number == 2
    assert store.close()


def test_after_a_commit_whose_answer_was_lost_asking_again_is_safe(store, monkeypatch):
    real = Writer.transaction

    @contextlib.contextmanager
    def unheard(writer):
        with real(writer) as connection:
            yield connection
        raise sa.exc.OperationalError("COMMIT", None, OSError("connection reset"))

    def lost(ask):
        with monkeypatch.context() as patch:
            patch.setattr(Writer, "transaction", unheard)
            with pytest.raises(StoreUnavailableError):
                ask().result()

    new = NewJob({"n": 1}, id="mine")
    lost(lambda: store.accept([new]))
    assert [job.id for job in store.accept([new]).result()] == ["mine"]
    (claim,) = store.claim("w").result()
    sent = Submitted("http://gpu", "mine", "token", "c")
    lost(lambda: store.note_submission("mine", claim.fence, sent))
    store.note_submission("mine", claim.fence, sent).result()
    assert [each.token for each in store.submissions("mine")] == ["token"]
    lost(lambda: store.settle("mine", claim.fence, JobState.DELIVERED, {"n": 1}))
    with pytest.raises(LeaseLostError):
        store.settle("mine", claim.fence, JobState.DELIVERED, {"n": 2}).result()
    assert store.outcome("mine") == {"n": 1}
    assert [job.id for job in store.jobs()] == ["mine"]


@pytest.mark.parametrize("content", [b"my thesis", b"no database" * 1000])
def test_a_file_that_is_no_store_is_left_alone(tmp_path, content):
    path = tmp_path / "jobs.db"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match="store must be a job store"):
        JobStore(path)
    assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["jobs.db"]


def test_damage_met_while_it_is_used_is_said_with_what_to_do(path):
    store = JobStore(path)
    store.accept([NewJob({"x": "y" * 3_000}) for _ in range(50)]).result()
    change(path, "PRAGMA user_version=1")
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    store.engine.dispose()
    with pytest.raises(StoreUnavailableError, match=r"is damaged.*holdfast jobs salvage"):
        store.jobs(search="y")
    with pytest.raises(StoreUnavailableError, match=r"is damaged.*holdfast jobs salvage"):
        store.accept([NewJob({})]).result()
    store.close()


def test_a_server_that_goes_away_is_said_and_used_again_when_it_is_back(postgres):
    store = JobStore(postgres.database())
    (kept,) = store.accept([NewJob({"n": 1})]).result()
    postgres.stop()
    try:
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            store.accept([NewJob({"n": 2})]).result(30)
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            store.jobs()
    finally:
        postgres.start()
    assert store.job(kept.id) == kept
    assert store.accept([NewJob({"n": 2})]).result(30)[0].number == 2
    assert store.close()
