"""How many calls to have in flight at once, learned from how long they take.

When durations grow beyond what is usual, calls are waiting for each other
somewhere, and the limit shrinks in proportion; while they do not, it grows
(Gradient2 after Netflix's concurrency-limits, with a search at the start). A
window in which many calls were dropped, timed out or refused for overload,
shrinks it too.

Laws:

- Time is an argument; a `now` earlier than the last one seen counts as no time passed.
- `minimum <= limit <= maximum`, always.
- The limit never grows on the word of calls that did not need it: while on average less
  than half of it is in use, it stays.
- A window ends with 10 samples, as many as the limit, and 250 ms; or after `patience`
  seconds with what it has: neither calls of a millisecond nor calls of an hour starve it.
- What is usual is hardly learned from slow windows, or a lasting overload would become it.
- Not safe for concurrent use: callers guard a limit with their own lock.
"""

from __future__ import annotations

from math import inf, sqrt

from holdfast.errors import BadInputError

_DROP = 0.9
# Below this share, calls that run out of time are the tail of their distribution.
_DROPPED_SHARE = 0.1
_HALF_FULL = 0.5
_FULL = 0.75
_SEARCH = 1.5
_SEARCH_ENDS = 0.8
_SMALLEST_GRADIENT = 0.5
_LARGEST_GRADIENT = 1.25
# The usual duration forgets with this weight for each window.
_WEIGHT = 2.0 / 601.0
_SLOW_WEIGHT = 0.05
_FIRST_WINDOWS = 4
# After a lasting slow phase the usual duration is far too high; it then comes down quickly.
_STALE_RATIO = 2.0
_STALE_DECAY = 0.95


class GradientLimit:
    """An adaptive limit on concurrency."""

    __slots__ = (
        "_drops",
        "_estimate",
        "_in_flight",
        "_latest",
        "_maximum",
        "_minimum",
        "_patience",
        "_queue",
        "_samples",
        "_searching",
        "_settling",
        "_since",
        "_smallest_window",
        "_smoothing",
        "_sum",
        "_tolerance",
        "_usual",
        "_window_samples",
        "_windows",
        "limit",
    )

    limit: int
    """Calls that may be in flight at once."""

    def __init__(
        self,
        initial: int = 20,
        minimum: int = 1,
        maximum: int = 1000,
        *,
        tolerance: float = 1.15,
        smoothing: float = 0.2,
        queue: float = 1.0,
        window_seconds: float = 0.25,
        window_samples: int = 10,
        patience: float = 60.0,
    ) -> None:
        """Start at `initial`, with nothing learned.

        Args:
            initial: the limit until something is learned.
            minimum: the limit never falls below it.
            maximum: the limit never rises above it.
            tolerance: times the usual duration that are still fine.
            smoothing: share of each change that is made at once.
            queue: calls let in beyond what seems right, to find out whether more will do;
                never more than the square root of the limit.
            window_seconds: seconds a window lasts at least.
            window_samples: samples a window holds at least, if they come in time; never
                fewer than the limit.
            patience: seconds after which a window ends with however few.
        """
        if not 1 <= minimum <= initial <= maximum < inf:
            raise BadInputError(
                "need 1 <= minimum <= initial <= maximum, "
                f"got minimum={minimum}, initial={initial}, maximum={maximum}"
            )
        if not 1 <= tolerance < inf:
            raise BadInputError(f"tolerance must be at least 1 and finite, got {tolerance}")
        if not 0 < smoothing <= 1:
            raise BadInputError(f"smoothing must be above 0 and at most 1, got {smoothing}")
        if not 0 < queue < inf:
            raise BadInputError(f"queue must be above 0 and finite, got {queue}")
        if not window_samples >= 1:
            raise BadInputError(f"window_samples must be at least 1, got {window_samples}")
        if not 0 <= window_seconds <= patience < inf:
            raise BadInputError(
                "need 0 <= window_seconds <= patience, "
                f"got window_seconds={window_seconds}, patience={patience}"
            )
        self._minimum = minimum
        self._maximum = maximum
        self._tolerance = tolerance
        self._smoothing = smoothing
        self._queue = queue
        self._smallest_window = window_seconds
        self._window_samples = window_samples
        self._patience = patience
        self._estimate = float(initial)
        self.limit = initial
        self._usual = 0.0
        self._windows = 0
        self._latest = -inf
        self._since = inf
        self._sum = 0.0
        self._samples = 0
        self._in_flight = 0
        self._drops = 0
        self._searching = True
        self._settling = _FIRST_WINDOWS - 1

    def sample(self, now: float, seconds: float, in_flight: int, dropped: bool) -> None:  # noqa: FBT001 - hot path
        """Learn from one finished call.

        Args:
            now: the moment it finished.
            seconds: how long it ran, waiting for its turn not included.
            in_flight: calls in flight while it ran, itself included.
            dropped: whether it timed out or was refused for overload.
        """
        if now > self._latest:
            self._latest = now
            if self._since == inf:
                self._since = now
        # A duration below 0 is a clock that stepped back; NaN and infinity are no durations.
        if 0.0 < seconds < inf:
            self._sum += seconds
        self._samples += 1
        self._in_flight += in_flight
        if dropped:
            self._drops += 1
        lasted = self._latest - self._since
        if lasted >= self._smallest_window and (
            self._samples >= max(self._window_samples, self.limit) or lasted >= self._patience
        ):
            self._end_window()

    def _end_window(self) -> None:
        short = self._sum / self._samples
        gradient = self._compare(short)
        estimate = self._estimate
        if self._drops >= self._samples * _DROPPED_SHARE:
            self._searching = False
            self._change(estimate * _DROP)
        else:
            full = self._in_flight / (self._samples * estimate)
            if self._searching and full >= _FULL:
                self._search(gradient)
            elif not self._searching and full >= _HALF_FULL:
                aim = estimate * gradient + min(self._queue, sqrt(estimate))
                self._change(estimate + self._smoothing * (aim - estimate))
        self._since = self._latest
        self._sum = 0.0
        self._samples = 0
        self._in_flight = 0
        self._drops = 0

    def _search(self, gradient: float) -> None:
        """Grow by half, again and again, until calls are slow."""
        if self._settling > 0:
            self._settling -= 1
        elif gradient < _SEARCH_ENDS:
            self._searching = False
            self._change(self._estimate / _SEARCH)
        else:
            self._settling = 1
            self._change(self._estimate * _SEARCH)
            self._searching = self._estimate < self._maximum

    def _compare(self, short: float) -> float:
        """How a window's mean compares with what is usual: below 1 if it is slow."""
        usual = self._usual
        if self._windows < _FIRST_WINDOWS:
            # The first to finish are the short ones, then come the long ones: a plain mean.
            self._windows += 1
            usual += (short - usual) / self._windows
            gradient = 1.0
        else:
            gradient = self._tolerance * usual / short if short > 0 else 1.0
            # What is slow must become usual in the end, but not before an overload is over.
            slow = short > usual * (1.0 if self._searching else sqrt(self._tolerance))
            usual += (_SLOW_WEIGHT if slow else 1.0) * _WEIGHT * (short - usual)
        if usual > short * _STALE_RATIO:
            usual *= _STALE_DECAY
        self._usual = usual
        return max(_SMALLEST_GRADIENT, min(_LARGEST_GRADIENT, gradient))

    def _change(self, estimate: float) -> None:
        self._estimate = max(float(self._minimum), min(float(self._maximum), estimate))
        self.limit = int(self._estimate)
