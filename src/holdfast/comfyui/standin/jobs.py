"""The queue of a server, what runs, and what has run: in memory only.

One job runs at a time, the one with the smallest ``(number, prompt_id)``.
Quirks of the real server are kept on purpose:

- Two jobs with the same number *and* id cannot be told apart by the heap; the
  second `put` raises, and yet the job is queued.
- `delete` removes the first match only, and tells everybody twice when that
  empties the queue.
- A job is remembered under its id; a later job of the same id replaces it.

Safe to use from any thread.
"""

from __future__ import annotations

import copy
import heapq
import threading
from collections.abc import Callable
from typing import Any

from holdfast.comfyui.standin.pulse import Gone

Job = tuple[Any, str, Any, Any, list[str]]
"""``(number, prompt_id, prompt, extra_data, outputs_to_execute)``."""

SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")
"""Keys of ``extra_data`` that never reach the history."""


class Jobs:
    """Jobs that wait, the one that runs, and those that are done."""

    def __init__(self, on_change: Callable[[], None], history_limit: int) -> None:
        self._on_change = on_change
        self._history_limit = history_limit
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        self._waiting: list[Job] = []
        self._running: dict[int, Job] = {}
        self._taken = 0
        self._history: dict[str, dict[str, Any]] = {}
        self._flags: dict[str, Any] = {}
        self._closed = False

    def put(self, job: Job) -> None:
        """Queue a job.

        Raises:
            TypeError: its number and id are those of a waiting job. It is queued all the same.
        """
        with self._lock:
            heapq.heappush(self._waiting, job)
            self._on_change()
            self._news.notify()

    def take(self) -> tuple[Job, int] | None:
        """Wait for a job or a flag; return the job and its ticket, None for a flag.

        Raises:
            Gone: the server died.
        """
        with self._news:
            while not self._waiting and not self._flags and not self._closed:
                self._news.wait()
            if self._closed:
                raise Gone
            if not self._waiting:
                return None
            job = heapq.heappop(self._waiting)
            ticket = self._taken
            self._taken += 1
            self._running[ticket] = copy.deepcopy(job)
            self._on_change()
            return job, ticket

    def finish(self, ticket: int, result: dict[str, Any], status: dict[str, Any]) -> None:
        """Move a job from the running ones to the history."""
        with self._lock:
            job = self._running.pop(ticket)
            if len(self._history) > self._history_limit:
                del self._history[next(iter(self._history))]
            for secret in SECRETS:
                if secret in job[3]:
                    job[3].pop(secret)
            self._history[job[1]] = {
                "prompt": job,
                "outputs": {},
                "status": copy.deepcopy(status),
                **result,
            }
            self._on_change()

    def remaining(self) -> int:
        """How many jobs wait or run."""
        with self._lock:
            return len(self._waiting) + len(self._running)

    def running(self) -> list[Job]:
        """The job that runs, if any, as a list."""
        with self._lock:
            return list(self._running.values())

    def waiting(self) -> list[Job]:
        """The waiting jobs, in the heap's own order."""
        with self._lock:
            return list(self._waiting)

    def clear(self) -> None:
        """Drop all waiting jobs; the running one is not touched."""
        with self._lock:
            self._waiting = []
            self._on_change()

    def delete(self, prompt_id: object) -> bool:
        """Drop the first waiting job of this id; say whether there was one."""
        with self._lock:
            for index, job in enumerate(self._waiting):
                if job[1] != prompt_id:
                    continue
                if len(self._waiting) == 1:
                    self.clear()
                else:
                    del self._waiting[index]
                    heapq.heapify(self._waiting)
                self._on_change()
                return True
        return False

    def history(self, *, max_items: int | None = None, offset: int = -1) -> dict[str, Any]:
        """Return finished jobs, oldest first; the last ``max_items``, or from ``offset``."""
        with self._lock:
            ids = list(self._history)
            first = offset
            if offset < 0 and max_items is not None:
                first = len(ids) - max_items
            chosen = ids[max(0, first) :]
            if max_items is not None:
                # The real server looks at the limit after taking an entry: 0 still gives one.
                chosen = chosen[: max(1, max_items)]
            return {prompt_id: copy.deepcopy(self._history[prompt_id]) for prompt_id in chosen}

    def finished(self, prompt_id: str) -> dict[str, Any]:
        """Return one finished job under its id, or an empty dict."""
        with self._lock:
            entry = self._history.get(prompt_id)
            return {} if entry is None else {prompt_id: copy.deepcopy(entry)}

    def clear_history(self) -> None:
        """Forget all finished jobs."""
        with self._lock:
            self._history = {}

    def forget(self, prompt_id: Any) -> None:
        """Forget one finished job, if it is known."""
        with self._lock:
            self._history.pop(prompt_id, None)

    def set_flag(self, name: str, value: object) -> None:
        """Leave a wish for the worker to see between two jobs."""
        with self._lock:
            self._flags[name] = value
            self._news.notify()

    def take_flags(self) -> dict[str, Any]:
        """Return the wishes left so far, and forget them."""
        with self._lock:
            flags, self._flags = self._flags, {}
            return flags

    def close(self) -> None:
        """Wake the worker for good: the server died."""
        with self._lock:
            self._closed = True
            self._news.notify_all()
