"""When those who wait may stop hoping: no server they could use has answered for too long."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.comfyui.health import Health
from holdfast.comfyui.line import Line, Wish
from holdfast.comfyui.place import Place
from holdfast.ports import ambient


class Hopeless:
    """Since when there is no hope, for each set of servers that somebody cannot use.

    Args:
        health: examines servers, and says what it found.
        reach_seconds: how long all usable servers may be down before a job gives up.
    """

    def __init__(self, health: Health, reach_seconds: float) -> None:
        self._health = health
        self._reach_seconds = reach_seconds
        self._since: dict[frozenset[str], float] = {}

    def lost(self, line: Line, able: Callable[[frozenset[str]], list[Place]]) -> list[Wish]:
        """Those who wait in vain, now.

        Args:
            line: all who wait.
            able: the servers that are left for those who cannot use some.
        """
        now = ambient.now()
        since: dict[frozenset[str], float] = {}
        lost: list[Wish] = []
        for never in line.nevers:
            places = able(never)
            self._health.second_chance(places)
            if not places:
                lost += [wish for wish in line if wish.never == never]
            elif all(place.down_since is not None and not place.busy for place in places):
                began = since[never] = self._since.get(never, now)
                if now - began >= self._reach_seconds:
                    lost += self._after_a_last_question(line, never, places, began)
        self._since = since
        return lost

    def _after_a_last_question(
        self, line: Line, never: frozenset[str], places: list[Place], began: float
    ) -> list[Wish]:
        now = ambient.now()
        lost: list[Wish] = []
        ask = False
        for wish in line:
            until = max(began, wish.entered) + self._reach_seconds
            if wish.never != never or until > now:
                continue
            if all(not place.probing and place.asked_at >= until for place in places):
                lost.append(wish)
            else:
                ask = True
        if ask:
            self._health.examine(places, force=True)
        return lost
