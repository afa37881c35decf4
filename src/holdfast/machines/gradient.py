"""How many calls to have in flight at once, learned from how long they take.

When durations grow beyond what is usual, calls are waiting for each other
somewhere, and the limit shrinks in proportion; while they do not, it grows
slowly (Gradient2, after Netflix). A dropped call, one that timed out or was
refused for overload, shrinks it at once.

Laws:

- Time is an argument; a `now` earlier than the last one seen counts as no time passed.
- `minimum <= limit <= maximum`, always.
- The limit never grows on the word of calls that did not need it: in a window that was
  never half full it stays.
- A window ends with 10 samples and 250 ms, or after `patience` seconds with what it has,
  so neither calls of a millisecond nor calls of an hour starve it. It shrinks for
  drops once, however many there were.
- Not safe for concurrent use: callers guard a limit with their own lock.
"""

from __future__ import annotations

from math import inf, sqrt

from holdfast.errors import BadInputError

_DROP = 0.9
_SMALLEST_GRADIENT = 0.5
# The usual duration forgets with this many windows, and at first is the plain mean of a few.
_LONG_WINDOWS = 600
_FIRST_WINDOWS = 10
# After a lasting slow phase the usual duration is far too high; it then comes down quickly.
_STALE_RATIO = 2.0
_STALE_DECAY = 0.95


class GradientLimit:
    """An adaptive limit on concurrency."""

    __slots__ = (
        "_dropped",
        "_estimate",
        "_latest",
        "_long",
        "_maximum",
        "_minimum",
        "_most_in_flight",
        "_patience",
        "_queue",
        "_samples",
        "_since",
        "_smallest_window",
        "_smoothing",
        "_sum",
        "_tolerance",
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
        tolerance: float = 1.5,
        smoothing: float = 0.2,
        queue: float = 4.0,
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
                never more than the square root of the limit, or small limits would run away.
            window_seconds: seconds a window lasts at least.
            window_samples: samples a window holds at least, if they come in time.
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
        self._long = 0.0
        self._windows = 0
        self._latest = -inf
        self._since = inf
        self._sum = 0.0
        self._samples = 0
        self._most_in_flight = 0
        self._dropped = False

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
        if in_flight > self._most_in_flight:  # noqa: PLR1730 - max() costs a call
            self._most_in_flight = in_flight
        if dropped and not self._dropped:
            self._dropped = True
            self._change(self._estimate * _DROP)
        lasted = self._latest - self._since
        if lasted >= self._smallest_window and (
            self._samples >= self._window_samples or lasted >= self._patience
        ):
            self._end_window()

    def _end_window(self) -> None:
        short = self._sum / self._samples
        long = self._usual(short)
        estimate = self._estimate
        if self._most_in_flight * 2 >= estimate:
            gradient = self._tolerance * long / short if short > 0 else 1.0
            gradient = max(_SMALLEST_GRADIENT, min(1.0, gradient))
            aim = estimate * gradient + min(self._queue, sqrt(estimate))
            changed = estimate + self._smoothing * (aim - estimate)
            self._change(min(changed, estimate) if self._dropped else changed)
        self._since = self._latest
        self._sum = 0.0
        self._samples = 0
        self._most_in_flight = 0
        self._dropped = False

    def _usual(self, short: float) -> float:
        """Take a window's mean into the usual duration and return that."""
        self._windows = min(self._windows + 1, _LONG_WINDOWS)
        weight = (
            1.0 / self._windows if self._windows <= _FIRST_WINDOWS else 2.0 / (_LONG_WINDOWS + 1)
        )
        self._long += weight * (short - self._long)
        if self._long > short * _STALE_RATIO:
            self._long *= _STALE_DECAY
        return self._long

    def _change(self, estimate: float) -> None:
        self._estimate = max(float(self._minimum), min(float(self._maximum), estimate))
        self.limit = int(self._estimate)
