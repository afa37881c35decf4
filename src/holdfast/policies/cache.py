"""Results kept for a while, one call for all who want the same, old answers in hard times.

- Callers with the same key share one call, whatever task, thread or event loop they are in:
  the first leads, the others follow. A leader who is cancelled, or whose own deadline ends its
  call, hands the lead to the next follower; a follower who gives up ends only its own wait.
- Only results are kept, never failures. A failure goes to all who follow, as the same error,
  unless there is a stale result to give instead.
- A call that asks, on its way, for what waits for itself, directly or through others, is made by
  who asks: nobody waits for ever. Its result is then not kept.
- An old answer is never given silently: the outcome's steps and `CacheServed` say so.
- No lock is held over a call, or while results are let go.
"""

from __future__ import annotations

import copy
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any, Final

from holdfast import events
from holdfast.errors import QueueTimeoutError
from holdfast.events import hub
from holdfast.machines.shelf import Kept, Shelf
from holdfast.outcome import Err, Ok, Result, describe
from holdfast.policies import checks
from holdfast.policies.cache_key import key_of
from holdfast.policies.call import Call
from holdfast.policies.effects import Flow, Park, Step
from holdfast.policies.flights import Flight, may_wait, waited
from holdfast.policies.matching import Condition, compile_condition, every_leaf, refuse_empty
from holdfast.policies.policy import Policy
from holdfast.policies.scope import Scope
from holdfast.policies.ticket import Ticket
from holdfast.ports import ambient

LEAD: Final = object()
"""What is granted to a follower who is to make the call itself."""


class Cache(Policy):
    """Give the result of the same call again for ``seconds``.

    ::

        cache = Cache(60, stale_if_error=600)

        @cache
        def load(user: int) -> Profile: ...

    The result itself is handed out each time, not a copy: do not change it.
    """

    __slots__ = (
        "_flights",
        "_key",
        "_lock",
        "_matches",
        "_shelf",
        "_tally",
        "max_entries",
        "name",
        "seconds",
        "stale_if_error",
    )

    settings = frozenset({"max_entries", "name", "seconds", "stale_if_error"})

    def __init__(
        self,
        seconds: float,
        *,
        stale_if_error: float | None = None,
        max_entries: int = 1024,
        key: Callable[..., Hashable] | None = None,
        on: Condition = Exception,
        name: str = "cache",
    ) -> None:
        """Check the settings and start empty.

        Args:
            seconds: how long a result is fresh.
            stale_if_error: for how many seconds more it is given when the call fails; None for
                not at all.
            max_entries: how many results are kept; the one unused for longest goes first.
            key: given the call's arguments, returns what tells calls apart; default: the
                function and its arguments with their types. It is the whole key: where several
                functions share one cache, it must tell them apart, too.
            on: the failures in whose place a stale result is given.
            name: for events and messages.

        Raises:
            BadInputError: naming the setting, its value and what is right.
        """
        checks.seconds("seconds", seconds)
        checks.seconds("stale_if_error", stale_if_error, optional=True)
        checks.whole("max_entries", max_entries, at_least=1)
        checks.hook("key", key)
        checks.label("name", name)
        self.seconds = seconds
        self.stale_if_error = stale_if_error
        self.max_entries = max_entries
        self.name = name
        self._key = key
        refuse_empty("on", on)
        self._matches = compile_condition("on", on)
        self._shelf = Shelf(seconds, stale_if_error or 0.0, max_entries)
        self._flights: dict[Hashable, Flight] = {}
        self._tally: Counter[str] = Counter()
        self._lock = threading.Lock()

    # -- by hand ---------------------------------------------------------------------------

    def key_of(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Hashable:
        """The key of a call, for `forget`.

        Of a decorated function give what was decorated: ``load.__wrapped__``.

        Raises:
            BadInputError: the key cannot be hashed.
        """
        return key_of(self.name, self._key, fn, args, kwargs)

    def forget(self, key: Hashable) -> bool:
        """Let go of one result; a call on its way is not kept either. False if there was none."""
        with self._lock:
            kept = self._shelf.forget(key)
            flight = self._flights.pop(key, None)
        return kept is not None or flight is not None

    def clear(self) -> None:
        """Let go of all results; calls on their way are not kept either."""
        with self._lock:
            gone = self._shelf.clear()
            self._flights.clear()
        # Here and not above: letting go may run code of others.
        del gone

    def snapshot(self) -> dict[str, Any]:
        """Settings, entries, calls on their way, and how often what happened."""
        with self._lock:
            return {
                "seconds": self.seconds,
                "stale_if_error": self.stale_if_error,
                "max_entries": self.max_entries,
                "entries": len(self._shelf),
                "in_flight": len(self._flights),
                "hits": self._tally["hits"],
                "misses": self._tally["misses"],
                "shared": self._tally["shared"],
                "stale": self._tally["stale"],
            }

    def describe(self) -> str:
        """The limits in one line."""
        stale = self.stale_if_error
        more = "" if stale is None else f", {stale:g} s more when the call fails"
        return (
            f"Cache {self.name!r}: results for {self.seconds:g} s{more}, at most {self.max_entries}"
        )

    # -- in a call -------------------------------------------------------------------------

    def flow(self, call: Call, inner: Step) -> Flow:
        """Give a kept result, or make the call for all who want it, or wait for who makes it."""
        try:
            key = self.key_of(call.fn, *call.args, **call.kwargs)
        except Exception as error:  # noqa: BLE001  # the user's key function; failures are values
            return Err(error)
        scope = call.scope
        found = self._board(key, scope)
        if found is None:
            return (yield from inner(call))
        if type(found) is Kept:
            return self._serve(call, found)
        flight, ticket, leading = found
        if ticket is not None:
            try:
                yield Park(ticket, None, self.name)
            except BaseException:
                self._leave(flight, ticket, key, scope)
                raise
            finally:
                waited(leading, flight)
            if not ticket.granted and not self._leave(flight, ticket):
                return self._give_up(call)
            if ticket.value is not LEAD:
                return self._share(call, key, ticket)
            call.say(f"{self.name}: took over the call from one that was cancelled")
        try:
            result = yield from inner(call)
        except BaseException:
            self._hand_over(flight, key, scope, missed=not call.turned)
            raise
        if type(result) is Err and call.left() <= 0:
            # It may have failed for lack of time that those who follow still have.
            self._hand_over(flight, key, scope)
        else:
            self._land(flight, key, scope, result)
        return self._conclude(call, key, result)

    def _board(
        self, key: Hashable, scope: Scope
    ) -> Kept | tuple[Flight, Ticket | None, tuple[Flight, ...]] | None:
        """A kept result; or the flight to lead, or to follow with a ticket; or None: go alone.

        With the flight come those that wait while its follower does.
        """
        with self._lock:
            kept = self._shelf.fresh(key, ambient.now())
            if kept is not None:
                self._tally["hits"] += 1
                return kept
            flight = self._flights.get(key)
            if flight is None:
                self._tally["misses"] += 1
                flight = self._flights[key] = Flight(scope)
                return flight, None, ()
            leading = may_wait(scope, flight)
            if leading is None:
                # It waits for this very call, and both would wait for ever.
                self._tally["misses"] += 1
                return None
            ticket = Ticket()
            flight.line[ticket] = scope
            return flight, ticket, leading

    def _land(self, flight: Flight, key: Hashable, scope: Scope, result: Result) -> None:
        """Keep a result, and give it or the failure to all who follow."""
        with self._lock:
            if flight.leader is not scope:
                return
            flight.end()
            gone: list[Kept] = []
            if self._flights.get(key) is flight:
                del self._flights[key]
                if type(result) is Ok:
                    gone = self._shelf.put(key, result.value, ambient.now())
            followers = list(flight.line)
            flight.line.clear()
            for ticket in followers:
                ticket.value, ticket.granted = result, True
        # Letting go and waking may run code of others, so not under the lock.
        gone.clear()
        for ticket in followers:
            ticket.grant(result)

    def _hand_over(
        self, flight: Flight, key: Hashable, scope: Scope, *, missed: bool = True
    ) -> None:
        """Have the next follower make the call; there may be none."""
        if not missed:  # it is to come again
            with self._lock:
                self._tally["misses"] -= 1
        while True:
            with self._lock:
                if flight.leader is not scope:
                    return
                if not flight.line:
                    flight.end()
                    if self._flights.get(key) is flight:
                        del self._flights[key]
                    return
                ticket, scope = flight.line.popitem(last=False)
                flight.pass_on(scope)
                self._tally["misses"] += 1
                ticket.value, ticket.granted = LEAD, True
            if ticket.grant(LEAD):
                return

    def _leave(
        self,
        flight: Flight,
        ticket: Ticket,
        key: Hashable = None,
        scope: Scope | None = None,
    ) -> bool:
        """Stop following; True if the wait had ended all the same (a lead is then passed on)."""
        with self._lock:
            if not ticket.granted:
                flight.line.pop(ticket, None)
                return False
        if scope is not None and ticket.value is LEAD:
            self._hand_over(flight, key, scope)
        return True

    # -- how it ends -----------------------------------------------------------------------

    def _conclude(self, call: Call, key: Hashable, result: Result) -> Result:
        """The result, or a stale one in place of a failure."""
        if (
            type(result) is Ok
            or self.stale_if_error is None
            or not every_leaf(self._matches, result.error)
        ):
            return result
        with self._lock:
            kept = self._shelf.usable(key, ambient.now())
        return result if kept is None else self._serve(call, kept, describe(result.error))

    def _serve(self, call: Call, kept: Kept, why: str | None = None) -> Ok:
        """Give a kept result; ``why`` is the failure it stands in for."""
        now = ambient.now()
        with self._lock:
            age = self._shelf.age(kept, now)
            if why is not None:
                self._tally["stale"] += 1
        if why is None:
            call.say(f"{self.name}: gave a result {age:.3g} s old")
        else:
            call.change(f"{self.name}: gave a stale result, {age:.3g} s old, in place of {why}")
        if hub.active:
            hub.emit(events.CacheServed(self.name, now, why is not None, age))
        return Ok(kept.value)

    def _share(self, call: Call, key: Hashable, ticket: Ticket) -> Result:
        """What the leader's call came to."""
        result, ticket.value = ticket.value, None
        if type(result) is Ok:
            with self._lock:
                self._tally["shared"] += 1
            call.say(f"{self.name}: shared the result of a call that was on its way")
            if hub.active:
                hub.emit(events.CacheServed(self.name, ambient.now(), stale=False, age=0.0))
            return result
        if type(result) is not Err:
            raise TypeError(f"a follower was given {type(result).__name__}")
        call.say(f"{self.name}: shared the failure of a call that was on its way")
        return self._conclude(call, key, Err(_of_ones_own(result.error)))

    def _give_up(self, call: Call) -> Err:
        call.ended_in_queue()
        reason = "the deadline passed while another caller's call was on its way"
        call.say(f"{self.name}: {reason}")
        return Err(QueueTimeoutError(f"cache {self.name!r}: {reason}"))

    def __repr__(self) -> str:
        return (
            f"Cache({self.seconds}, stale_if_error={self.stale_if_error}, "
            f"max_entries={self.max_entries}, name={self.name!r})"
        )


def _of_ones_own(error: Exception) -> Exception:
    """A copy of a shared failure, because each caller adds frames and notes to what it raises."""
    try:
        twin = copy.copy(error)
    except Exception:  # noqa: BLE001  # some exceptions cannot be made anew
        return error
    return twin if type(twin) is type(error) and twin.args == error.args else error
