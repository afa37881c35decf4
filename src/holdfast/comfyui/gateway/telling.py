"""What the clients of one job are told of it, from its start to its end. Pure.

A job may take several attempts on several servers, two of them at once. Its
clients see one ordinary run of ComfyUI (in ComfyUI's order, see `begin` and
`end`), and are told nothing that turns out to be false:

- How an attempt ended is never passed on; how the *job* ended is said once.
- Files of type "output" have their names only when they are in our store, so an
  `executed` that carries some is said at the end.
- A new attempt begins with `execution_start`, which makes a client start its
  progress over. Frames of an attempt that is no longer the newest are left out.
- A run without a client id says what ComfyUI broadcasts, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.comfyui.failures import clip
from holdfast.comfyui.gateway import frames
from holdfast.comfyui.gateway.frames import Event, NodeText, Preview, Raw, Unknown
from holdfast.comfyui.gateway.saying import Said, Sort, To

_BROADCAST = frozenset(
    {Sort.PROGRESS_STATE, Sort.PROGRESS, Sort.PREVIEW, Sort.PICTURE, Sort.TEXT, Sort.OTHER}
)
"""What everybody hears of a run whose client gave no id."""
_SILENT = frozenset({"status", "feature_flags", "execution_success"})
"""What a server says of itself or of an attempt."""
_RESULT = "image/png"
"""What SaveImageWebsocket sends; previews of work in progress are JPEGs."""
_NODES = 20_000
"""Nodes remembered of one job."""
_ABOUT_NODES = {
    "progress_state": Sort.PROGRESS_STATE,
    "progress": Sort.PROGRESS,
    "execution_cached": Sort.CACHED,
}


class Telling:
    """What is told of one job; `node` is the one that runs, and None between runs."""

    def __init__(self, job: str, *, addressed: bool) -> None:
        self.job = job
        self.node: str | None = None
        self._addressed = addressed
        self._server: str | None = None
        self._lively = False
        """Whether anything of this attempt was told, beyond its start."""
        self._held: Said | None = None
        """A plain preview that waits for its `progress`, which ComfyUI sends first."""
        self._pictures = 0
        """How many pictures were sent that are results in themselves."""
        self._display: dict[str, str] = {}
        self._executed: dict[str, None] = {}
        """Nodes whose `executed` was said in this attempt: a set that keeps its order."""
        self._done: dict[str, None] = {}
        """Nodes that ran in this attempt and gave way to the next one."""
        self._types: dict[str, str] = {}
        self._trouble = ""

    def begin(self, milliseconds: int) -> list[Said]:
        """The job is taken up, or taken up again."""
        self._forget_attempt()
        self._server = None
        return self._all(self._start(milliseconds))

    def hear(self, server: str, raw: Raw, milliseconds: int) -> list[Said]:
        """A frame of the job's run on ``server``: what of it goes on to the clients."""
        frame = frames.parse(raw)
        if isinstance(frame, Event):
            if frame.prompt_id not in (None, self.job):
                return []
            if frame.type == "execution_start":
                return self._all(self._attempt(server, milliseconds))
            if frame.type in _SILENT or not self._follows(server):
                return []
            return self._all(self._event(frame))
        if isinstance(frame, frames.Nonsense) or not self._follows(server):
            return []
        return self._all(self._binary(frame))

    def end(self, outcome: Mapping[str, Any], milliseconds: int, status: Said) -> list[Said]:
        """The job is over: what is missing, how it ended, the queue, and that nothing runs."""
        told = self._flush()
        ended = outcome.get("status")
        told += [self._note("degraded", words) for words in _texts(outcome.get("degradations"))]
        told += self._missing(outcome.get("outputs"))
        if ended == "delivered":
            told.append(self._end("execution_success", {}, milliseconds))
        elif ended == "cancelled":
            told.append(self._end("execution_interrupted", self._stopped(outcome), milliseconds))
        else:
            told.append(self._end("execution_error", self._error(outcome), milliseconds))
        told.append(status)
        self.node = None
        over = frames.event("executing", {"node": None, "prompt_id": self.job})
        told.append(Said(over, Sort.END, self.job, "executing"))
        if self._addressed:
            return told
        interrupted = {"execution_interrupted"} if ended == "cancelled" else set()
        return [s for s in told if s.sort is Sort.STATUS or s.node in interrupted]

    def note(self, kind: str, words: str) -> list[Said]:
        """Something of Holdfast's own about the job."""
        return self._all([self._note(kind, words)])

    def _follows(self, server: str) -> bool:
        """Whether a frame is of the attempt that is told: the newest, or the only one."""
        if self._server is None:
            self._server = server
        return self._server == server

    def _attempt(self, server: str, milliseconds: int) -> list[Said]:
        first = not self._lively
        trouble = self._trouble
        self._server = server
        if first:
            self._lively = True
            return []
        self._forget_attempt()
        self._lively = True
        words = f"Started again: {trouble}" if trouble else "Started again on another server."
        return [*self._start(milliseconds), self._note("attempt", words)]

    def _forget_attempt(self) -> None:
        self.node = None
        self._held = None
        self._lively = False
        self._trouble = ""
        self._executed.clear()
        self._done.clear()

    def _start(self, milliseconds: int) -> list[Said]:
        data = {"prompt_id": self.job, "timestamp": milliseconds}
        return [Said(frames.event("execution_start", data), Sort.START, self.job)]

    def _event(self, frame: Event) -> list[Said]:
        node = frame.node
        told = [] if frame.type == "progress" else self._flush()
        match frame.type:
            case "execution_error" | "execution_interrupted":
                return told + self._attempt_failed(frame)
            case "executing":
                return told + self._node_begins(node, frame)
            case "executed" if node is not None:
                return told + self._node_done(node, frame)
            case "progress":
                self._lively = True
                return [Said(frame.raw, Sort.PROGRESS, self.job), *self._flush()]
            case kind:
                self._lively = self._lively or kind in _ABOUT_NODES
                sort = _ABOUT_NODES.get(kind, Sort.OTHER)
                return [*told, Said(frame.raw, sort, self.job)]

    def _node_begins(self, node: str | None, frame: Event) -> list[Said]:
        self._lively = True
        if self.node is not None and self.node != node and len(self._done) < _NODES:
            self._done[self.node] = None
        self.node = node
        if node is None:  # the attempt is over; if two ran, the other one is told from now on
            self._server = None
            return []
        self._see(node, frame.data.get("display_node"))
        return [Said(frame.raw, Sort.EXECUTING, self.job)]

    def _attempt_failed(self, frame: Event) -> list[Said]:
        """It is not passed on: another attempt may follow, and whoever still runs is heard."""
        node, kind = frame.data.get("node_id"), frame.data.get("node_type")
        if isinstance(node, str) and isinstance(kind, str) and len(self._types) < _NODES:
            self._types[node] = kind
        if frame.data.get("exception_type") == "ExecutionBlocked":  # the run goes on
            return []
        if frame.type == "execution_interrupted":
            self._trouble = "the server stopped the run"
        else:
            said = frame.data.get("exception_message")
            self._trouble = clip(said.strip(), 300) if isinstance(said, str) else "a node failed"
        self._server = None
        self._lively = True
        return [self._note("attempt_failed", self._trouble)]

    def _node_done(self, node: str, frame: Event) -> list[Said]:
        self._lively = True
        self._see(node, frame.data.get("display_node"))
        files = frames.files_of(frame.data.get("output"))
        if any(each.get("type") == "output" for each in files):
            return []
        if len(self._executed) < _NODES:
            self._executed[node] = None
        return [Said(frame.raw, Sort.EXECUTED, self.job, node)]

    def _binary(self, frame: Preview | NodeText | Unknown) -> list[Said]:
        told = self._flush()
        if isinstance(frame, NodeText):
            return [*told, Said(frame.raw, Sort.TEXT, self.job, frame.node)]
        if isinstance(frame, Unknown):
            return [*told, Said(frame.raw, Sort.OTHER, self.job)]
        if frame.prompt_id not in (None, self.job):
            return told
        sort, name = Sort.PREVIEW, ""
        if frame.image_type == _RESULT:
            self._pictures += 1
            sort, name = Sort.PICTURE, str(self._pictures)
        if not frame.described:
            return [*told, Said(frame.raw, sort, self.job, name)]
        self._lively = True
        self._held = Said(frame.plain(), sort, self.job, name, To.PLAIN)
        return [*told, Said(frame.raw, sort, self.job, name, To.DESCRIBED)]

    def _flush(self) -> list[Said]:
        if self._held is None:
            return []
        held, self._held = self._held, None
        return [held]

    def _missing(self, outputs: object) -> list[Said]:
        """`executed` of each node that has something to show and has not said so yet."""
        told = []
        for node, output in outputs.items() if isinstance(outputs, Mapping) else ():
            final = any(each.get("type") == "output" for each in frames.files_of(output))
            if str(node) in self._executed and not final:
                continue
            data = {
                "node": str(node),
                "display_node": self._display.get(str(node), str(node)),
                "output": output,
                "prompt_id": self.job,
            }
            told.append(Said(frames.event("executed", data), Sort.EXECUTED, self.job, str(node)))
        return told

    def _error(self, outcome: Mapping[str, Any]) -> dict[str, Any]:
        failure = outcome.get("failure")
        failure = failure if isinstance(failure, Mapping) else {}
        message = str(failure.get("message") or "The job could not be done.")
        return {
            **self._where(failure),
            "exception_message": message if message.endswith("\n") else f"{message}\n",
            "exception_type": str(
                failure.get("exception_type") or failure.get("kind") or "holdfast.Failed"
            ),
            "traceback": _texts(failure.get("traceback")),
            "current_inputs": {},
            "current_outputs": list(self._executed),
        }

    def _stopped(self, outcome: Mapping[str, Any]) -> dict[str, Any]:
        where = outcome.get("stopped_at")
        return self._where(where if isinstance(where, Mapping) else {})

    def _where(self, failure: Mapping[str, Any]) -> dict[str, Any]:
        node = str(failure.get("node_id") or self.node or "")
        return {
            "prompt_id": self.job,
            "node_id": node,
            "node_type": str(failure.get("node_type") or self._types.get(node, "")),
            "executed": list(self._done | self._executed),
        }

    def _end(self, kind: str, data: dict[str, Any], milliseconds: int) -> Said:
        said = {"prompt_id": self.job, **data, "timestamp": milliseconds}
        return Said(frames.event(kind, said), Sort.END, self.job, kind)

    def _note(self, kind: str, words: str) -> Said:
        data = {"prompt_id": self.job, "kind": kind, "words": words}
        return Said(frames.event("holdfast", data), Sort.NOTE, self.job, kind, To.NOTES)

    def _see(self, node: str, display: object) -> None:
        if isinstance(display, str) and len(self._display) < _NODES:
            self._display[node] = display

    def _all(self, told: list[Said]) -> list[Said]:
        return told if self._addressed else [each for each in told if each.sort in _BROADCAST]


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
