"""How many jobs of a user run at once, as the user's keys say."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from holdfast.stores.jobs import JobState, JobStore, NewJob, tables
from holdfast.testing import FakeClock


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


def key(store, user, most, **values):
    """A key as the gateway keeps it."""
    row = {"id": f"key {user} {most} {values}", "digest": "", "user": user, "label": ""}
    row |= {"scopes": "run", "created": 0.0, "disabled": False, "max_running": most} | values
    store.write(lambda on, _now: on.execute(sa.insert(tables.api_key).values(row))).result()


def queue(store, user, count, **fields):
    store.accept([NewJob({}, user=user, **fields) for _ in range(count)]).result()


def users(claims):
    return [claim.job.user for claim in claims]


def end(store, claim):
    store.settle(claim.job.id, claim.fence, JobState.DELIVERED, {}).result()


def test_no_more_run_than_may_and_the_others_jobs_are_taken(store):
    key(store, "ann", 2)
    queue(store, "ann", 5, priority=3)
    queue(store, "bob", 2)
    first = store.claim("w", 10).result()
    assert users(first) == ["ann", "ann", "bob", "bob"]
    assert store.claim("other").result() == ()
    end(store, first[2])
    assert store.claim("other").result() == ()
    end(store, first[0])
    assert users(store.claim("other", 5).result()) == ["ann"]


def test_who_has_to_wait_does_so_at_every_priority_and_in_orders(store):
    key(store, "ann", 1)
    for priority in range(30):
        queue(store, "ann", 1, priority=priority)
    queue(store, "bob", 1, priority=-5)
    queue(store, "ann", 1, order="night")
    queue(store, "cy", 1, order="night")
    given = store.claim("w", 10).result()
    assert users(given) == ["ann", "cy", "bob"]
    assert given[0].job.priority == 29
    queue(store, "cy", 1, order="day")
    queue(store, "ann", 1, order="day")
    assert users(store.claim("w", 10, order="day").result()) == ["cy"]


def test_the_most_generous_good_key_counts_and_none_that_is_bad(store, clock):
    key(store, "ann", 1)
    key(store, "ann", 3, expires=clock.wall() + 60)
    key(store, "ann", 9, disabled=True)
    key(store, "bob", 1)
    key(store, "bob", None)
    queue(store, "ann", 9)
    queue(store, "bob", 4)
    given = store.claim("w", 20).result()
    assert sorted(users(given)) == ["ann"] * 3 + ["bob"] * 4
    clock.advance(20)
    store.renew({claim.job.id: claim.fence for claim in given}).result()
    clock.advance(20)
    store.renew({claim.job.id: claim.fence for claim in given}).result()
    clock.advance(21)
    for claim in [each for each in given if each.job.user == "ann"][:2]:
        end(store, claim)
    assert store.claim("w", 20).result() == ()


def test_disabling_a_users_last_key_frees_nothing(store):
    key(store, "ann", 2, disabled=True)
    key(store, "ann", 1, expires=1.0)
    queue(store, "ann", 5)
    assert len(store.claim("w", 9).result()) == 2


def test_who_takes_over_what_a_dead_worker_left_counts_it_once(store, clock):
    key(store, "ann", 1)
    queue(store, "ann", 2)
    (left,) = store.claim("dead").result()
    clock.advance(60)
    (taken,) = store.claim("w", 5).result()
    assert taken.job.id == left.job.id
    store.release(taken.job.id, taken.fence).result()
    assert len(store.claim("w", 5).result()) == 1


@pytest.mark.parametrize("damage", ["'much'", "-3", "1.5"])
def test_a_limit_that_is_damaged_is_not_none(path, damage):
    store = JobStore(path)
    key(store, "ann", 5)
    queue(store, "ann", 3)
    with store.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE api_key SET max_running = {damage}")  # noqa: S608
    assert len(store.claim("w", 5).result()) == 1
    assert store.close()


def test_workers_that_claim_at_once_keep_to_it_together(open_store):
    stores = [open_store() for _ in range(4)]
    key(stores[0], "ann", 3)
    queue(stores[0], "ann", 40)
    given = []

    def work(store):
        for _ in range(10):
            given.extend(store.claim(f"w{id(store)}", 2).result())

    threads = [threading.Thread(target=work, args=[store]) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == 3
    assert stores[0].counts()[JobState.RUNNING] == 3
