"""A job as it stands in lists: as a card with a picture, or as a row of a table."""

from __future__ import annotations

from collections.abc import Callable

from nicegui.element import Element

from holdfast.apps.dashboard.phrases import ago, duration, icon_of, moment
from holdfast.apps.dashboard.pieces import Pill, Words, anchor, box, put, sign, thumb
from holdfast.apps.dashboard.sources import JobRow
from holdfast.apps.dashboard.visit import Visit
from holdfast.ports import ambient

COLUMNS = ("", "Job", "State", "Ordered", "Took", "Model", "Seed")


class JobCard:
    """A job with its picture, for the overview."""

    def __init__(self, visit: Visit, row: JobRow) -> None:
        self._visit = visit
        self.root = box("li", "job-card")
        with self.root, box("a", "job-link", href=visit.to_job(row.id)):
            self._picture = Picture(visit)
            self._name = Words("span", "", "strong one-line")
            with box("span", "job-foot"):
                self._state = Pill(row.state)
                self._when = Words("span", "", "quiet")
        self.show(row)

    @classmethod
    def build(cls, visit: Visit, row: JobRow) -> tuple[Element, Callable[[JobRow], None]]:
        """One for a list."""
        made = cls(visit, row)
        return made.root, made.show

    def show(self, row: JobRow) -> None:
        """Another state of the same job."""
        self._picture.show(row)
        self._name.text = row.label
        self._state.show(row.state)
        self._when.text = ago(row.ended or row.started or row.created, ambient.wall())


class JobLine:
    """A job as a row of a table, which on a narrow screen becomes a card."""

    def __init__(self, visit: Visit, row: JobRow) -> None:
        self._visit = visit
        self.root = box("tr")
        with self.root:
            with box("td", "cell-thumb"):
                self._picture = Picture(visit)
            with box("td", "cell-name"):
                self._name = anchor("", visit.to_job(row.id), "strong")
                self._about = Words("span", "", "quiet clamp")
            with box("td", "", data_label="State"):
                self._state = Pill(row.state)
                self._tries = Words("span", "", "quiet")
            self._ordered = Words("td", "", "nowrap")
            self._took = Words("td", "", "nowrap")
            self._model = Words("td", "", "narrow")
            self._seed = Words("td", "", "mono narrow")
        for cell, label in zip(
            (self._ordered, self._took, self._model, self._seed), COLUMNS[3:], strict=True
        ):
            put(cell, "data-label", label)
        self.show(row)

    @classmethod
    def build(cls, visit: Visit, row: JobRow) -> tuple[Element, Callable[[JobRow], None]]:
        """One for a list."""
        made = cls(visit, row)
        return made.root, made.show

    def show(self, row: JobRow) -> None:
        """Another state of the same job."""
        self._picture.show(row)
        self._name.text = row.label
        self._about.text = row.summary if row.state == "failed" else row.prompt or row.summary
        self._state.show(row.state, "being cancelled" if row.cancelling else "")
        self._tries.text = f"priority {row.priority}" if row.priority else ""
        self._ordered.text = ago(row.created, ambient.wall())
        put(self._ordered, "title", moment(row.created))
        self._took.text = took(row)
        self._model.text = row.model or "-"
        self._seed.text = row.seed or "-"


class Picture:
    """The thumbnail of a job, or the sign of its state while it has none."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._root = box("span", "picture")
        self._shown: tuple[str, str] | None = None

    def show(self, row: JobRow) -> None:
        """That of this job."""
        wanted = (row.thumb, row.state)
        if wanted == self._shown:
            return
        self._shown = wanted
        self._root.clear()
        with self._root:
            if row.thumb:
                thumb(self._visit.to_thumb(row.thumb), "")  # its name stands beside it
            else:
                sign(icon_of(row.state))


def took(row: JobRow) -> str:
    """How long a job took, or takes."""
    if row.ended is not None:
        return duration(row.ended - row.created)
    if row.started is not None and row.state == "running":
        so_far = duration(ambient.wall() - row.started)
        return f"{so_far} of about {duration(row.estimate)}" if row.estimate else f"{so_far} so far"
    return f"about {duration(row.estimate)}" if row.estimate else "-"
