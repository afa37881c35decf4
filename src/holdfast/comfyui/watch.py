"""Watching one submission on one server until it is known how it ended.

A pure state machine. It is told what was heard on the socket, what `/queue`
and `/history` answered, and what time it is; it says what it wants to know
next (`wants`), when to be woken (`wake_at`) and, in the end, its `verdict`.

Laws:

- Events are hints, `/history` is the truth. No event alone ends the watch,
  except that an error heard from a server that then goes away is believed.
- Waiting in the queue is not silence. The idle limit runs only while the job
  itself is running.
- Absence is believed only after it was seen twice with time in between:
  there is a moment between a job's end and its entry in the history, and a
  frozen server may still read a request that we gave up on.
- A job is known by its token, not by its prompt id alone, because the id is
  kept over retries and the history keeps the last run's entry.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.comfyui import messages as heard
from holdfast.comfyui.failures import NodeFault
from holdfast.comfyui.replies import HistoryEntry, Queue
from holdfast.comfyui.verdict import Outcome, Patience, Verdict, Want, Where
from holdfast.machines.silence import Silence


@dataclass(slots=True)
class Watch:
    """The state of one watch. Begins at the moment the submission is sent."""

    prompt_id: str
    token: str
    patience: Patience
    began: float
    """`now` at submission."""
    verdict: Verdict | None = None
    node: str | None = None
    """The node that runs, if known."""
    blocked: NodeFault | None = None
    """The notice that a node blocked its dependants, if one was heard."""
    where: Where | None = None
    """Where the job was last seen; None until anything is known."""
    _accepted: bool = False
    _accepted_at: float = 0.0
    _wants: set[Want] = field(default_factory=set)
    _silence: Silence = field(default_factory=Silence)
    _waiting: Silence = field(default_factory=Silence)
    _ahead: str | None = None
    _last_heard: float = 0.0
    _last_look: float = 0.0
    _next_look: float | None = None
    _look_failing_since: float | None = None
    _absent_since: float | None = None
    _ending_heard: float | None = None
    _fault: NodeFault | None = None
    _socket_up: bool = True
    _socket_dropped: bool = False
    _hearing: bool = False
    _blind: bool = False
    """A socket of this watch was deaf or lost; until one hears again, silence proves little."""
    _doubted: bool = False
    """The socket was renewed on suspicion since the last progress."""
    _reopened_at: float | None = None

    def __post_init__(self) -> None:
        """Everything counts from the submission."""
        self._last_heard = self._last_look = self.began

    # What happened ----------------------------------------------------------------------

    def accepted(self, now: float) -> None:
        """The server took the submission, or it was found there already."""
        self._accepted = True
        self._accepted_at = self._last_heard = now
        self._waiting.heard(now)

    def unanswered(self, now: float) -> None:
        """The submission's answer was lost: nobody knows whether the job is there."""
        self._look_now(now)

    def message(self, message: heard.Message, now: float) -> None:
        """Something came over the socket."""
        if isinstance(message, heard.QueueStatus) and message.sid is not None:
            return  # a greeting: every new socket gets it, a deaf one too
        if isinstance(message, heard.Executing) and message.prompt_id is None:
            # A greeting as well, on reconnection: what runs now, without saying whose it is. It
            # is no progress: a server whose worker is dead says the same.
            if self.where is Where.RUNNING:
                self.node = message.node
            return
        self._hearing = True
        if getattr(message, "prompt_id", None) != self.prompt_id:
            return
        match message:
            case heard.Executing(node=node):
                self._progress(now, node)
            case heard.Failed(fault=fault) if fault.blocked:
                self.blocked = fault
                self._progress(now)
            case heard.Failed(fault=fault) | heard.Stopped(fault=fault):
                self._fault = fault if isinstance(message, heard.Failed) else None
                self._ended(now)
            case heard.Succeeded() | heard.Finished():
                self._ended(now)
            case _:
                self._progress(now)

    def socket_lost(self, now: float) -> None:
        """The socket closed. Whether the server lives is for HTTP to say."""
        self._socket_up = False
        self._socket_dropped = self._blind = True
        self._hearing = False
        self._look_now(now)

    def socket_ready(self, now: float) -> None:
        """The socket is open again."""
        self._wants.discard(Want.REOPEN)
        self._socket_up = True
        self._hearing = False
        self._reopened_at = now

    def reopen_failed(self, now: float) -> None:
        """The socket could not be opened again; HTTP has to do meanwhile."""
        self._wants.discard(Want.REOPEN)
        self._socket_up = False  # the old one was closed before the new one was tried
        self._reopened_at = now
        self._look_now(now)

    def looked(self, queue: Queue, entry: HistoryEntry | None, now: float) -> None:
        """`/queue` and then `/history` answered."""
        self._wants.discard(Want.LOOK)
        self._next_look = None
        self._last_look = now
        self._look_failing_since = None
        if entry is not None and entry.token in (None, self.token):
            self._decide(Outcome.ENDED, "the history has it", entry=entry)
            return
        self._place(queue, now)
        if not self._socket_up and (self._reopened_at is None or now > self._reopened_at + 1.0):
            self._wants.add(Want.REOPEN)

    def refused(self, now: float) -> None:
        """The server refused the connection: nothing listens there any more."""
        self._wants.discard(Want.LOOK)
        if self._look_failing_since is None and self._socket_up:
            # One refusal beside a healthy socket may be a full backlog; a second one is not.
            self._look_failing_since = now
            self._next_look = now + 0.3
            return
        if self._fault is not None:
            self._decide(Outcome.FAULT, "an error was heard before the server went away")
        elif self._accepted or self.where is not None:
            self._decide(Outcome.DIED, "the server went away while it had the job", restarted=True)
        else:
            self._decide(Outcome.DIED, "the server went away during the submission")

    def silent(self, now: float, asked: float | None = None) -> None:
        """A look that began at ``asked`` timed out, broke off or was answered with nonsense."""
        self._wants.discard(Want.LOOK)
        if self._look_failing_since is None:
            self._look_failing_since = now if asked is None else asked
        speaks = self._silence.running and self._silence.lasted(now) < self.patience.unanswered
        if now - self._look_failing_since < self.patience.unanswered or speaks:
            # A node that hogs the process starves HTTP; as long as it gets on, nothing is wrong.
            self._next_look = now + 1.0
        elif self._fault is not None:
            self._decide(Outcome.FAULT, "an error was heard before the server fell silent")
        else:
            self._decide(
                Outcome.FROZEN,
                f"the server has not answered for {now - self._look_failing_since:.0f} s",
            )

    @property
    def end_heard(self) -> bool:
        """Whether the socket said that the job has ended: the history will have it."""
        return self._ending_heard is not None

    # What is wanted ---------------------------------------------------------------------

    def wants(self, now: float) -> Want | None:
        """What to do next, or None: listen until `wake_at`."""
        if now >= (self._look_due() if self._next_look is None else self._next_look):
            self._wants.add(Want.LOOK)
        self._check_limits(now)
        if self.done:
            return None
        if Want.LOOK in self._wants:
            return Want.LOOK
        if self._deaf(now):
            self._blind = True
            self._wants.add(Want.REOPEN)
        elif self._doubtful(now):
            self._doubted = True
            self._wants.add(Want.REOPEN)
        return Want.REOPEN if Want.REOPEN in self._wants else None

    def wake_at(self, now: float) -> float:
        """The moment at which `wants` may change without anything happening."""
        moments = [self._look_due() if self._next_look is None else self._next_look]
        for seconds in (self._idle_limit(), self.patience.idle / 2):
            limit = self._silence.exceeds_at(seconds)
            if limit is not None and limit > now:
                moments.append(limit)
        if self._may_be_deaf():
            moments.append(self._accepted_at + self.patience.deaf)
        return min(moments)

    @property
    def done(self) -> bool:
        """Whether there is a verdict."""
        return self.verdict is not None

    @property
    def quiet(self) -> Silence:
        """How long the running job has shown no progress."""
        return self._silence

    # How it is decided ------------------------------------------------------------------

    def _look_due(self) -> float:
        # Only what was heard of our own job counts: others' chatter says nothing of it.
        return max(self._last_heard, self._last_look) + self.patience.ask

    def _look_now(self, now: float) -> None:
        self._next_look = now

    def _progress(self, now: float, node: str | None = None) -> None:
        self.where = Where.RUNNING
        self._accepted = True
        self._last_heard = now
        self._doubted = False
        self._absent_since = None
        self._waiting.stop()
        self._silence.heard(now)
        if node is not None:
            self.node = node

    def _ended(self, now: float) -> None:
        self._progress(now)
        if self._ending_heard is None:
            self._ending_heard = now
        self._look_now(now)

    def _place(self, queue: Queue, now: float) -> None:
        running = [item for item in queue.running if item.is_(self.prompt_id, self.token)]
        pending = [item for item in queue.pending if item.is_(self.prompt_id, self.token)]
        for item in (*running, *pending):
            self.prompt_id = item.prompt_id  # some servers make ids of their own
        if running:
            self._seen_running(now)
        elif pending:
            self._seen_pending(queue, now)
        else:
            self._seen_nowhere(now)

    def _seen_running(self, now: float) -> None:
        self._absent_since = None
        self._accepted = True
        if self.where is not Where.RUNNING:
            self._progress(now)
        if self._ending_heard is not None:
            # The entry is written a moment after the event; the longer it takes, the rarer we ask.
            self._next_look = now + min(2.0, max(0.05, (now - self._ending_heard) / 2))

    def _seen_pending(self, queue: Queue, now: float) -> None:
        self._absent_since = None
        self._accepted = True
        self.where = Where.PENDING
        self._silence.stop()
        ahead = queue.running[0].prompt_id if queue.running else None
        if ahead != self._ahead:
            self._ahead = ahead
            self._waiting.stop()
        if not self._waiting.running:
            self._waiting.heard(now)

    def _seen_nowhere(self, now: float) -> None:
        if self._absent_since is None:
            self._absent_since = now
        grace = self.patience.settle if self._ending_heard is not None else self.patience.absent
        if now - self._absent_since < grace:
            self._next_look = now + min(0.25, grace / 4)
        elif self._accepted:
            self._decide(
                Outcome.LOST,
                "the server was restarted and has forgotten the job"
                if self._socket_dropped
                else "the server knows nothing of the job any more (removed from its queue?)",
                restarted=self._socket_dropped,
            )
        else:
            self._decide(Outcome.NEVER_ACCEPTED, "the submission never reached the queue")

    def _idle_limit(self) -> float:
        # Without a socket that hears anything there is no progress to see: be thrice as patient.
        blind = not self._socket_up or (self._blind and not self._hearing)
        return self.patience.idle * (3 if blind else 1)

    def _check_limits(self, now: float) -> None:
        running_for, waiting_for = self._silence.lasted(now), self._waiting.lasted(now)
        fresh = now - self._last_look <= 2.0 and self._look_failing_since is None
        idle = self.where is Where.RUNNING and running_for >= self._idle_limit()
        # Pending with nothing running is no queue: the worker is dead.
        limit = self.patience.queued if self._ahead else self.patience.idle
        stuck = self.where is Where.PENDING and waiting_for >= limit
        if not (idle or stuck):
            return
        if not fresh:
            if self._next_look is None:
                self._wants.add(Want.LOOK)
            return
        where = f"at node {self.node}" if self.node else "at no known node"
        words = (
            f"no progress for {running_for:.0f} s {where}, though the server answers"
            if idle
            else f"waiting for {waiting_for:.0f} s behind a job that does not get on"
        )
        self._decide(Outcome.STALLED, words)

    def _may_be_deaf(self) -> bool:
        return (
            self._accepted
            and self._socket_up
            and not self._hearing
            and self._reopened_at is None
            and self.verdict is None
        )

    def _doubtful(self, now: float) -> bool:
        # Half the patience gone without a sign of progress: perhaps it is the socket that went
        # deaf. A new one costs nothing, and hears the run if there is anything to hear.
        return (
            self._socket_up
            and not self._doubted
            and self.where is Where.RUNNING
            and self._silence.lasted(now) >= self.patience.idle / 2
        )

    def _deaf(self, now: float) -> bool:
        return self._may_be_deaf() and now >= self._accepted_at + self.patience.deaf

    def _decide(
        self,
        outcome: Outcome,
        words: str,
        *,
        entry: HistoryEntry | None = None,
        restarted: bool = False,
    ) -> None:
        if self.done:
            return
        fault = entry.fault if entry is not None else self._fault
        self.verdict = Verdict(outcome, words, entry, fault, restarted)
