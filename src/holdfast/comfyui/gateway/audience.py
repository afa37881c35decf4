"""Who listens: the open sockets by user and client id, and what all sockets of a user are told.

Of several sockets of one client the newest is spoken to, and when it closes the
one before it. (ComfyUI forgets the newer one when the older one closes.)

Everybody hears the length of their own queue each time it changes, but from more
than 20 sockets of one user on not quite as often: else each job would cost three
frames for each socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from holdfast.comfyui.gateway.listener import Listener
from holdfast.comfyui.gateway.replay import Owner
from holdfast.comfyui.gateway.saying import Said
from holdfast.ports import ambient

_UNTHINNED = 20
"""Sockets of one user up to which each change of the queue is told."""
_THINNED_SECONDS = 0.0005
"""Seconds between two tellings, for each socket of the user, beyond that."""


class Audience:
    """The open sockets of all users."""

    def __init__(self, status: Callable[[str], Said], most: int, most_per_user: int) -> None:
        self._status = status
        self._most = most
        self._most_per_user = most_per_user
        self._users: dict[str, dict[str, list[Listener]]] = {}
        self._open: dict[Listener, None] = {}
        self._told_at: dict[str, float] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Listener]:
        return iter(list(self._open))

    def has_room(self, user: str) -> bool:
        """Whether another socket of the user may open."""
        mine = sum(map(len, self._users.get(user, {}).values()))
        return len(self._open) < self._most and mine < self._most_per_user

    def add(self, listener: Listener) -> Listener | None:
        """A socket has opened; the one of the same client that was spoken to until now."""
        user, client_id = listener.owner
        same = self._users.setdefault(user, {}).setdefault(client_id, [])
        before = same[-1] if same else None
        same.append(listener)
        self._open[listener] = None
        return before

    def remove(self, listener: Listener) -> bool:
        """A socket has closed; whether it was the one that was spoken to."""
        user, client_id = listener.owner
        del self._open[listener]
        clients = self._users[user]
        same = clients[client_id]
        spoken_to = same[-1] is listener
        same.remove(listener)
        if not same:
            del clients[client_id]
        if not clients:
            del self._users[user]
            self._told_at.pop(user, None)
        return spoken_to

    def spoken_to(self, owner: Owner) -> Listener | None:
        """The newest socket of a client."""
        same = self._users.get(owner[0], {}).get(owner[1])
        return same[-1] if same else None

    def of(self, user: str) -> list[Listener]:
        """The newest socket of each of the user's clients."""
        return [same[-1] for same in self._users.get(user, {}).values()]

    def announce(self, user: str, told: Listener | None = None) -> None:
        """Tell the user's sockets how long the queue is, but for one that was told already."""
        others = [each for each in self.of(user) if each is not told]
        if not others:
            return
        now = ambient.now()
        quiet = len(others) * _THINNED_SECONDS if len(others) > _UNTHINNED else 0.0
        wait = self._told_at.get(user, now - quiet) + quiet - now
        if wait <= 0:
            self._told_at[user] = now
            said = self._status(user)
            for listener in others:
                listener.say(said)
        elif user not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[user] = loop.call_later(wait, self._announce_late, user)

    def close(self) -> None:
        """Announce nothing more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _announce_late(self, user: str) -> None:
        self._timers.pop(user, None)
        self._told_at.pop(user, None)
        self.announce(user)
