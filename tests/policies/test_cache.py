"""One call for all who want the same, and old answers in hard times that say so."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import threading
import weakref

import pytest

from holdfast.errors import (
    BadInputError,
    DeadlineExceededError,
    QueueTimeoutError,
    RejectedError,
)
from holdfast.events import CacheServed, listen
from holdfast.pipeline import Pipeline
from holdfast.policies.bulkhead import Bulkhead
from holdfast.policies.cache import Cache
from holdfast.policies.retry import Retry
from holdfast.policies.scope import Deadline
from holdfast.policies.timeout import Timeout
from holdfast.testing import FakeClock
from tests.scenarios.hands import Hands, new_call

NAN = float("nan")


@pytest.fixture
def clock():
    with FakeClock() as clock:
        yield clock


class Dependency:
    """Counts its calls; fails while told to."""

    def __init__(self):
        self.calls = 0
        self.error: Exception | None = None

    def __call__(self, *_args, **_kwargs):
        self.calls += 1
        if self.error is not None:
            raise self.error
        return f"answer {self.calls}"


def once(name="slow"):
    """An async function that ends when its gate opens, with what it was called with."""

    async def call(value=name):
        call.calls += 1
        call.began.set()
        await call.gate.wait()
        if call.error is not None:
            raise call.error
        return value

    call.calls, call.error = 0, None
    call.began, call.gate = asyncio.Event(), asyncio.Event()
    return call


async def turns(number=10):
    for _ in range(number):
        await asyncio.sleep(0)


# -- settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"seconds": 0}, "seconds must be above 0 seconds, got 0"),
        ({"seconds": NAN}, "seconds must be above 0"),
        ({"seconds": True}, "seconds must be above 0"),
        ({"seconds": 1, "stale_if_error": 0}, "stale_if_error must be above 0 seconds, got 0"),
        ({"seconds": 1, "stale_if_error": "60"}, "stale_if_error must be above 0"),
        ({"seconds": 1, "max_entries": 0}, "max_entries must be a whole number of at least 1"),
        ({"seconds": 1, "key": "user"}, "key must be a function or None"),
        ({"seconds": 1, "on": asyncio.CancelledError}, "on must name subclasses of Exception"),
        ({"seconds": 1, "name": ""}, "name must be a text"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(chosen, words):
    with pytest.raises(BadInputError, match=words):
        Cache(**chosen)


# -- keeping -------------------------------------------------------------------------------


def test_a_fresh_result_is_given_again_and_an_expired_one_is_not(clock):
    load = Dependency()
    cache = Cache(10)
    assert [cache.call(load), cache.call(load)] == ["answer 1", "answer 1"]
    clock.advance(9.9)
    assert cache.call(load) == "answer 1"
    clock.advance(0.2)
    assert cache.call(load) == "answer 2"


@pytest.mark.parametrize("empty", [None, 0, "", [], False])
def test_an_empty_result_is_a_result(empty):
    calls = []
    cache = Cache(10)

    def load():
        calls.append(1)
        return empty

    assert cache.call(load) == cache.call(load) == empty
    assert len(calls) == 1


def test_a_failure_is_not_kept():
    load = Dependency()
    load.error = ConnectionError("down")
    cache = Cache(10)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            cache.call(load)
    load.error = None
    assert cache.call(load) == "answer 3"


def test_the_outcome_says_that_a_result_was_kept_and_how_old_it_is(clock):
    load = Dependency()
    cache = Cache(10)
    assert cache.call_outcome(load).steps == ()
    clock.advance(4)
    outcome = cache.call_outcome(load)
    assert (outcome.attempts, outcome.steps) == (0, ("cache: gave a result 4 s old",))


def test_no_more_than_max_entries_are_kept():
    load = Dependency()
    cache = Cache(10, max_entries=2)
    for number in range(50):
        cache.call(load, number)
    assert cache.snapshot()["entries"] == 2
    cache.call(load, 49)
    assert load.calls == 50
    cache.call(load, 47)
    assert load.calls == 51


def test_a_kept_result_is_given_while_a_breaker_or_a_queue_inside_says_no():
    load = Dependency()
    bulkhead = Bulkhead(1)
    pipeline = Pipeline(Cache(10, key=lambda *_: "same"), bulkhead)
    pipeline.call(load)
    assert bulkhead.try_take()
    assert pipeline.call(load) == "answer 1"


# -- keys ----------------------------------------------------------------------------------


def test_calls_are_told_apart_by_arguments_their_names_and_their_types():
    load = Dependency()
    cache = Cache(10)
    apart = [((1,), {}), ((1.0,), {}), ((True,), {}), ((), {"a": 1}), ((), {"b": 1}), ((1, 1), {})]
    for args, kwargs in apart * 2:
        cache.call(load, *args, **kwargs)
    assert load.calls == len(apart)


def test_the_order_of_named_arguments_does_not_matter():
    load = Dependency()
    cache = Cache(10)
    cache.call(load, a=1, b=2)
    cache.call(load, b=2, a=1)
    assert load.calls == 1


def test_two_lambdas_of_the_same_name_are_two_functions():
    cache = Cache(10)
    answers = [cache.call(function) for function in ((lambda: 1), (lambda: 2))]
    assert answers == [1, 2]


def test_methods_of_two_objects_are_two_functions():
    class Store:
        def __init__(self, answer):
            self.answer = answer

        def get(self):
            return self.answer

    cache = Cache(10)
    assert [cache.call(Store(number).get) for number in (1, 2)] == [1, 2]


def test_a_decorated_method_is_kept_for_each_object():
    cache = Cache(10)

    class Store:
        calls = 0

        @cache
        def get(self):
            Store.calls += 1
            return id(self)

    one, other = Store(), Store()
    assert (one.get(), one.get(), other.get()) == (id(one), id(one), id(other))
    assert Store.calls == 2


def test_equal_partials_of_one_function_are_one_call():
    load = Dependency()
    cache = Cache(10)
    cache.call(functools.partial(load, 1, a=2))
    cache.call(functools.partial(load, 1, a=2))
    assert load.calls == 1
    cache.call(functools.partial(load, 1, a=3))
    assert load.calls == 2


def test_arguments_that_cannot_be_hashed_are_refused_with_a_way_out():
    load = Dependency()
    with pytest.raises(BadInputError, match=r"Dependency has no key .*'list'.*; give key="):
        Cache(10).call(load, [1])
    assert load.calls == 0
    cache = Cache(10, key=tuple)
    assert cache.call(load, [1]) == cache.call(load, [1])


def test_a_key_function_that_returns_what_cannot_be_hashed_is_told_so():
    with pytest.raises(BadInputError, match="have key= return something hashable"):
        Cache(10, key=list).call(Dependency())


def test_the_error_of_a_key_function_is_the_outcome_of_the_call():
    outcome = Cache(10, key=lambda: {}["user"]).call_outcome(Dependency())
    assert isinstance(outcome.error, KeyError)


# -- letting go ----------------------------------------------------------------------------


def test_one_result_or_all_can_be_let_go():
    load = Dependency()
    cache = Cache(10)
    cache.call(load, 1)
    cache.call(load, 2)
    assert cache.forget(cache.key_of(load, 1)) is True
    assert cache.forget(cache.key_of(load, 1)) is False
    cache.call(load, 2)
    assert load.calls == 2
    cache.clear()
    cache.call(load, 2)
    assert load.calls == 3


def test_of_a_decorated_function_the_key_is_that_of_what_was_decorated():
    cache = Cache(10)
    load = cache(Dependency().__call__)
    load(1)
    assert cache.forget(cache.key_of(load.__wrapped__, 1)) is True


async def test_a_call_that_began_before_forget_is_not_kept_but_serves_its_followers():
    load = once()
    cache = Cache(10)
    leader = asyncio.create_task(cache.execute(load))
    await load.began.wait()
    follower = asyncio.create_task(cache.execute(load))
    await turns()
    assert cache.forget(cache.key_of(load)) is True
    later = asyncio.create_task(cache.execute(load))
    await turns()
    load.gate.set()
    assert await asyncio.gather(leader, follower, later) == ["slow"] * 3
    assert load.calls == 2
    assert cache.snapshot()["in_flight"] == 0


async def test_a_call_that_began_before_clear_is_not_kept():
    load = once()
    cache = Cache(10)
    leader = asyncio.create_task(cache.execute(load))
    await load.began.wait()
    cache.clear()
    load.gate.set()
    await leader
    assert cache.snapshot()["entries"] == 0


def test_results_are_let_go_outside_the_lock():
    cache = Cache(10, max_entries=1)
    seen = []

    class Loud:
        def __del__(self):
            seen.append(cache.snapshot()["entries"])

    def body():
        for number in range(3):
            cache.call(lambda _number: Loud(), number)
        cache.clear()
        cache.call(Loud)
        cache.forget(cache.key_of(Loud))

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert len(seen) == 4


# -- stale ---------------------------------------------------------------------------------


def test_a_stale_result_stands_in_for_a_failure_and_says_so(clock):
    load = Dependency()
    cache = Cache(10, stale_if_error=60, name="users")
    cache.call(load)
    load.error = ConnectionError("down")
    clock.advance(30)
    seen = []
    with listen(lambda event: isinstance(event, CacheServed) and seen.append(event)):
        outcome = cache.call_outcome(load)
    assert (outcome.value, outcome.attempts) == ("answer 1", 1)
    assert outcome.steps == (
        "users: gave a stale result, 30 s old, in place of ConnectionError: down",
    )
    assert [(event.policy, event.stale, event.age) for event in seen] == [("users", True, 30.0)]
    assert cache.snapshot()["stale"] == 1


def test_what_is_too_old_is_not_given_even_when_the_call_fails(clock):
    load = Dependency()
    cache = Cache(10, stale_if_error=60)
    cache.call(load)
    load.error = ConnectionError("down")
    clock.advance(70)
    with pytest.raises(ConnectionError):
        cache.call(load)


def test_a_stale_result_does_not_become_fresh_by_being_given(clock):
    load = Dependency()
    cache = Cache(10, stale_if_error=60)
    cache.call(load)
    load.error = ConnectionError("down")
    clock.advance(20)
    cache.call(load)
    cache.call(load)
    assert load.calls == 3
    load.error = None
    assert cache.call(load) == "answer 4"


def test_without_stale_if_error_a_failure_is_a_failure(clock):
    load = Dependency()
    cache = Cache(10)
    cache.call(load)
    load.error = ConnectionError("down")
    clock.advance(11)
    with pytest.raises(ConnectionError):
        cache.call(load)


def test_only_the_failures_named_are_covered_up(clock):
    load = Dependency()
    cache = Cache(10, stale_if_error=60, on=ConnectionError)
    cache.call(load)
    clock.advance(20)
    load.error = ValueError("a mistake of ours")
    with pytest.raises(ValueError, match="a mistake of ours"):
        cache.call(load)
    load.error = ExceptionGroup("both", [ConnectionError(), ValueError()])
    with pytest.raises(ExceptionGroup):
        cache.call(load)


def test_a_rejection_from_inside_is_covered_by_default(clock):
    bulkhead = Bulkhead(1)
    load = Dependency()
    pipeline = Pipeline(Cache(10, stale_if_error=60), bulkhead)
    pipeline.call(load)
    clock.advance(20)
    bulkhead.try_take()
    outcome = pipeline.call_outcome(load)
    assert (outcome.value, outcome.attempts) == ("answer 1", 0)


async def test_the_followers_of_a_failed_call_get_the_stale_result_too():
    with FakeClock() as clock:
        cache = Cache(10, stale_if_error=60, key=lambda: "same")
        cache.call(lambda: "old")
        clock.advance(20)
        load = once()
        load.error = ConnectionError("down")
        calls = [asyncio.create_task(cache.outcome(load)) for _ in range(3)]
        await turns()
        load.gate.set()
        outcomes = await asyncio.gather(*calls)
    assert [outcome.value for outcome in outcomes] == ["old"] * 3
    assert all("stale" in outcome.steps[-1] for outcome in outcomes)
    assert load.calls == 1


# -- one call for all ----------------------------------------------------------------------


async def test_tasks_that_want_the_same_share_one_call():
    load = once()
    cache = Cache(10)
    seen = []
    with listen(lambda event: isinstance(event, CacheServed) and seen.append(event)):
        calls = [asyncio.create_task(cache.outcome(load)) for _ in range(20)]
        await turns()
        assert cache.snapshot()["in_flight"] == 1
        load.gate.set()
        outcomes = await asyncio.gather(*calls)
    assert [outcome.value for outcome in outcomes] == ["slow"] * 20
    assert load.calls == sum(outcome.attempts for outcome in outcomes) == 1
    shared = [o for o in outcomes if "cache: shared the result of a call" in " ".join(o.steps)]
    assert len(shared) == len(seen) == 19
    assert not any(event.stale for event in seen)
    state = cache.snapshot()
    assert (state["shared"], state["misses"], state["in_flight"]) == (19, 1, 0)


async def test_calls_of_different_keys_do_not_wait_for_each_other():
    load = once()
    cache = Cache(10)
    slow = asyncio.create_task(cache.execute(load, "slow"))
    await load.began.wait()
    assert await cache.execute(lambda: "quick") == "quick"
    assert not slow.done()
    load.gate.set()
    await slow


async def test_a_failure_goes_to_all_followers_as_the_same_error():
    load = once()
    load.error = ConnectionError("down")
    cache = Cache(10)
    calls = [asyncio.create_task(cache.outcome(load)) for _ in range(5)]
    await turns()
    load.gate.set()
    outcomes = await asyncio.gather(*calls)
    assert all(type(each.error) is type(load.error) for each in outcomes)
    assert all(each.error.args == load.error.args for each in outcomes)
    assert load.calls == 1
    assert "shared the failure" in outcomes[-1].steps[0]


def test_threads_that_want_the_same_share_one_call():
    cache = Cache(10)
    gate, began, calls, answers = threading.Event(), threading.Event(), [], []

    def load():
        calls.append(1)
        began.set()
        assert gate.wait(10)
        return object()

    threads = [threading.Thread(target=lambda: answers.append(cache.call(load))) for _ in range(8)]
    threads[0].start()
    assert began.wait(10)
    for thread in threads[1:]:
        thread.start()
    while sum(len(flight.line) for flight in list(cache._flights.values())) < 7:
        pass
    gate.set()
    for thread in threads:
        thread.join(10)
    assert (len(calls), len(answers), len(set(map(id, answers)))) == (1, 8, 1)


def test_the_counts_are_right_under_eight_threads():
    cache = Cache(1000, max_entries=10_000)
    load = Dependency()
    lock = threading.Lock()

    def counted(number):
        with lock:
            return load(number)

    def body():
        for number in range(300):
            cache.call(counted, number)

    threads = [threading.Thread(target=body) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    state = cache.snapshot()
    assert load.calls == state["misses"] == state["entries"] == 300
    assert state["hits"] + state["shared"] == 7 * 300


def test_two_loops_in_two_threads_and_a_plain_thread_share_one_call():
    cache = Cache(10, key=lambda: "same")
    gate, began, calls = threading.Event(), threading.Event(), []

    async def load():
        calls.append(1)
        began.set()
        await asyncio.to_thread(gate.wait, 10)
        return "one"

    answers = []
    bodies = [
        lambda: answers.append(asyncio.run(cache.execute(load))),
        lambda: answers.append(asyncio.run(cache.execute(load))),
        lambda: answers.append(cache.call(lambda: "never called")),
    ]
    threads = [threading.Thread(target=body) for body in bodies]
    threads[0].start()
    assert began.wait(10)
    for thread in threads[1:]:
        thread.start()
    while sum(len(flight.line) for flight in list(cache._flights.values())) < 2:
        pass
    gate.set()
    for thread in threads:
        thread.join(10)
    assert answers == ["one"] * 3
    assert calls == [1]


def test_one_cache_serves_two_runs_of_asyncio():
    cache = Cache(10)
    load = Dependency()
    assert [asyncio.run(cache.execute(load)) for _ in range(2)] == ["answer 1"] * 2


# -- who gives up, and who takes over ------------------------------------------------------


async def test_the_followers_of_a_cancelled_call_take_over_one_after_another():
    load = once()
    cache = Cache(10)
    calls = [asyncio.create_task(cache.outcome(load)) for _ in range(4)]
    await turns()
    for number in (0, 1):
        calls[number].cancel()
        await turns()
    assert load.calls == 3
    load.gate.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends[:2]] == [asyncio.CancelledError] * 2
    assert [end.value for end in ends[2:]] == ["slow"] * 2
    assert "took over" in ends[2].steps[0]
    assert load.calls == 3
    assert cache.snapshot()["in_flight"] == 0


async def test_a_follower_that_is_cancelled_ends_only_its_own_wait():
    load = once()
    cache = Cache(10)
    calls = [asyncio.create_task(cache.execute(load)) for _ in range(3)]
    await turns()
    calls[1].cancel()
    await turns()
    load.gate.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [ends[0], ends[2]] == ["slow"] * 2
    assert load.calls == 1


async def test_a_follower_that_has_left_is_not_given_the_lead():
    load = once()
    cache = Cache(10)
    calls = [asyncio.create_task(cache.execute(load)) for _ in range(3)]
    await turns()
    for number in (1, 0):
        calls[number].cancel()
        await turns()
    load.gate.set()
    async with asyncio.timeout(5):
        assert await calls[2] == "slow"


async def test_a_call_that_was_passed_over_cannot_give_the_lead_away():
    """It was thought gone, because its loop seemed closed, and another call leads since."""
    load = once()
    cache = Cache(10)
    calls = [asyncio.create_task(cache.execute(load)) for _ in range(4)]
    await turns()
    flight = next(iter(cache._flights.values()))
    next(iter(flight.line)).attach(lambda: False)
    calls[0].cancel()
    await turns()
    assert load.calls == 2
    calls[1].cancel()
    await turns()
    assert load.calls == 2
    load.gate.set()
    assert await asyncio.gather(*calls[2:]) == ["slow"] * 2
    assert cache.snapshot()["entries"] == 1


async def test_whoever_takes_over_calls_with_its_own_context():
    who = contextvars.ContextVar("who")
    load = once()

    async def named():
        await load()
        return who.get()

    cache = Cache(10)

    async def caller(name):
        who.set(name)
        return await cache.execute(named)

    first = asyncio.create_task(caller("first"))
    await turns()
    second = asyncio.create_task(caller("second"))
    await turns()
    first.cancel()
    await turns()
    load.gate.set()
    assert await second == "second"


@pytest.mark.parametrize("leaders", [1, 2])
@pytest.mark.parametrize("turn", range(12))
async def test_cancelling_at_any_moment_leaves_nothing_behind(turn, leaders):
    """Leader and followers, alone and in a pipeline, are cancelled after so many turns."""

    async def load():
        for _ in range(4):
            await asyncio.sleep(0)
        return "done"

    cache = Cache(10)
    pipeline = Pipeline(Timeout(60), Retry(max_attempts=2), cache, Bulkhead(4))
    calls = [asyncio.create_task(pipeline.execute(load)) for _ in range(4)]
    await turns(turn)
    for call in calls[:leaders]:
        call.cancel()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert ends[leaders:] == ["done"] * (4 - leaders)
    assert all(end == "done" or type(end) is asyncio.CancelledError for end in ends)
    state = cache.snapshot()
    assert (state["in_flight"], state["entries"]) == (0, 1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_lead_granted_to_a_call_cancelled_in_the_same_tick_is_passed_on():
    load = once()
    cache = Cache(10)
    calls = [asyncio.create_task(cache.execute(load)) for _ in range(3)]
    await turns()
    # The second is granted the lead when the first ends, and is cancelled before it wakes.
    calls[0].add_done_callback(lambda _: calls[1].cancel())
    calls[0].cancel()
    await turns()
    load.gate.set()
    assert await calls[2] == "slow"
    assert cache.snapshot()["in_flight"] == 0


def test_an_interrupted_sync_call_can_be_made_again():
    cache = Cache(10, key=lambda: "same")

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.call(interrupted)
    assert cache.snapshot()["in_flight"] == 0
    assert cache.call(lambda: "again") == "again"


def test_followers_whose_loop_is_closed_are_passed_over():
    cache = Cache(10, key=lambda: "same")
    loop = asyncio.new_event_loop()

    async def main():
        leader = asyncio.create_task(cache.execute(asyncio.Event().wait))
        await turns()
        follower = asyncio.create_task(cache.execute(lambda: "never"))
        await turns()
        return leader, follower

    leader, follower = loop.run_until_complete(main())
    flight = next(iter(cache._flights.values()))
    ticket = next(iter(flight.line))
    ticket.attach(lambda: False)
    leader.cancel()
    loop.run_until_complete(asyncio.gather(leader, return_exceptions=True))
    assert cache.snapshot()["in_flight"] == 0
    assert cache.call(lambda: "free") == "free"
    follower.cancel()
    loop.run_until_complete(asyncio.gather(follower, return_exceptions=True))
    loop.close()


# -- deadlines -----------------------------------------------------------------------------


def test_a_leader_that_runs_out_of_its_own_time_hands_over(clock):
    cache = Cache(10)
    calls = []

    async def load():
        calls.append(1)
        await asyncio.sleep(5)
        return "done"

    async def within(seconds):
        with Deadline.after(seconds):
            return await cache.execute(load)

    async def main():
        return await asyncio.gather(within(3), within(60), within(60), return_exceptions=True)

    first, *others = clock.run(main())
    assert isinstance(first, DeadlineExceededError)
    assert others == ["done"] * 2
    assert len(calls) == 2


def test_a_leader_whose_limit_is_inside_the_cache_hands_over_when_its_deadline_did_it(clock):
    pipeline = Pipeline(Cache(10), Timeout(30))

    async def load():
        await asyncio.sleep(5)
        return "done"

    async def within(seconds):
        with Deadline.after(seconds):
            return await pipeline.execute(load)

    async def main():
        return await asyncio.gather(within(3), within(60), return_exceptions=True)

    first, second = clock.run(main())
    assert isinstance(first, DeadlineExceededError)
    assert second == "done"


def test_a_thread_that_leads_and_runs_out_of_its_own_time_hands_over(clock):
    """Its failure is a value by then, made by the limit inside the cache."""
    pipeline = Pipeline(cache := Cache(10), Timeout(30))
    gate, began, calls, ends = threading.Event(), threading.Event(), [], []

    def load():
        calls.append(1)
        began.set()
        assert gate.wait(10)
        return "done"

    def lead():
        with Deadline.after(3):
            ends.append(pipeline.call_outcome(load).error)

    leader = threading.Thread(target=lead)
    leader.start()
    assert began.wait(10)
    follower = threading.Thread(target=lambda: ends.append(pipeline.call_outcome(load).value))
    follower.start()
    while not next(iter(cache._flights.values())).line:
        pass
    clock.advance(5)
    gate.set()
    leader.join(10)
    follower.join(10)
    assert len(calls) == 2
    assert "done" in ends
    assert any(isinstance(end, DeadlineExceededError) for end in ends)


def test_a_follower_that_runs_out_of_time_ends_only_its_own_wait(clock):
    cache = Cache(10)
    calls = []

    async def load():
        calls.append(1)
        await asyncio.sleep(5)
        return "done"

    async def within(seconds):
        with Deadline.after(seconds):
            return await cache.execute(load)

    async def main():
        return await asyncio.gather(within(60), within(3), within(60), return_exceptions=True)

    first, second, third = clock.run(main())
    assert (first, third) == ("done", "done")
    assert isinstance(second, RejectedError)
    assert isinstance(second, TimeoutError)
    assert calls == [1]


def test_a_thread_that_runs_out_of_time_ends_only_its_own_wait(clock):
    cache = Cache(10)
    gate, began, answers = threading.Event(), threading.Event(), []

    def load():
        began.set()
        assert gate.wait(10)
        return "done"

    leader = threading.Thread(target=lambda: answers.append(cache.call(load)))
    leader.start()
    assert began.wait(10)
    with Deadline.after(3), pytest.raises(TimeoutError) as caught:
        cache.call(load)
    assert isinstance(caught.value, RejectedError)
    gate.set()
    leader.join(10)
    assert answers == ["done"]
    assert cache.snapshot()["in_flight"] == 0


# -- other dangers -------------------------------------------------------------------------


def test_a_call_that_asks_for_itself_does_not_wait_for_itself():
    cache = Cache(10, key=lambda _depth: "same")

    @cache
    def depth(left):
        return 0 if left == 0 else 1 + depth(left - 1)

    assert depth(3) == 3
    assert depth(0) == 3


async def test_an_async_call_that_asks_for_itself_does_not_wait_for_itself():
    cache = Cache(10, key=lambda _depth: "same")

    @cache
    async def depth(left):
        if left == 0:
            return 0
        return 1 + await asyncio.create_task(depth(left - 1))

    async with asyncio.timeout(5):
        assert await depth(3) == 3


class Mark:
    """Something a failing frame holds."""


@pytest.mark.parametrize("stale", [None, 60])
async def test_a_failure_shared_by_many_leaves_no_frame_behind(stale):
    """Asked through `outcome`, so that only what the cache itself holds can matter."""
    marks = []
    with FakeClock() as clock:
        cache = Cache(10, stale_if_error=stale, key=lambda: "same")
        cache.call(lambda: "old")
        clock.advance(20)
        gate = asyncio.Event()

        async def load():
            mark = Mark()
            marks.append(weakref.ref(mark))
            await gate.wait()
            raise ConnectionError

        async def caller():
            return (await cache.outcome(load)).value

        gc.disable()
        try:
            calls = [asyncio.create_task(caller()) for _ in range(3)]
            await turns()
            gate.set()
            assert await asyncio.gather(*calls) == [None if stale is None else "old"] * 3
            assert len(marks) == 1
            assert marks[0]() is None
        finally:
            gc.enable()


def test_expired_results_are_freed_by_the_next_one(clock):
    cache = Cache(10)
    mark = cache.call(Mark)
    seen = weakref.ref(mark)
    del mark
    clock.advance(11)
    cache.call(object)
    assert seen() is None


def test_it_says_what_it_does():
    cache = Cache(60, stale_if_error=300, name="users")
    assert cache.describe() == (
        "Cache 'users': results for 60 s, 300 s more when the call fails, at most 1024"
    )
    assert "users" in repr(cache)
    assert "Cache" in Pipeline(cache).explain()


def test_each_call_that_asks_for_itself_counts_as_made():
    cache = Cache(10, key=lambda _depth: "same")

    @cache
    def depth(left):
        return 0 if left == 0 else 1 + depth(left - 1)

    depth(3)
    assert cache.snapshot()["misses"] == 4


def test_a_leader_that_fails_at_the_very_deadline_hands_over(clock):
    cache, call = Cache(10), new_call()
    call.scope.deadline = clock.now() + 5.0
    leader, follower = Hands(cache, call), Hands(cache)
    clock.advance(5.0)
    leader.fail(ConnectionError())
    follower.give(None)
    assert follower.runs


def test_a_follower_whose_time_is_up_is_told_that_it_never_ran():
    cache = Cache(10)
    leader, follower = Hands(cache), Hands(cache)
    assert leader.runs
    follower.give(None)
    assert type(follower.error) is QueueTimeoutError
    assert follower.call.scope.queued_out


async def test_each_call_that_takes_over_counts_as_made():
    load, cache = once(), Cache(10)
    calls = [asyncio.create_task(cache.outcome(load)) for _ in range(3)]
    await turns()
    calls[0].cancel()
    await turns()
    load.gate.set()
    await asyncio.gather(*calls, return_exceptions=True)
    told = cache.snapshot()
    assert (load.calls, told["misses"], told["shared"]) == (2, 2, 1)


async def test_a_shared_result_is_a_new_one():
    load, cache, told = once(), Cache(10), []
    calls = [asyncio.create_task(cache.execute(load)) for _ in range(2)]
    await turns()
    load.gate.set()
    with listen(told.append):
        await asyncio.gather(*calls)
    assert [(e.stale, e.age) for e in told if isinstance(e, CacheServed)] == [(False, 0.0)]


def test_a_leader_that_fails_with_time_to_spare_shares_its_failure(clock):
    cache, call = Cache(10), new_call()
    call.scope.deadline = clock.now() + 1.0
    leader, follower = Hands(cache, call), Hands(cache)
    error = ConnectionError()
    leader.fail(error)
    follower.give(None)
    # A copy, because each caller adds frames and notes to what it raises.
    assert (type(follower.error), follower.error.args) == (type(error), error.args)
    assert follower.error is not error


def test_all_who_follow_are_served_before_the_first_of_them_is_woken():
    cache, seen = Cache(10), []
    leader, first, second = (Hands(cache) for _ in range(3))
    first.effect.ticket.attach(lambda: seen.append(second.effect.ticket.granted) or True)
    leader.succeed("picture")
    assert seen == [True]
