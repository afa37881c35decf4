"""The worker of a server: takes one job after the other and runs its graph.

Says exactly what the real worker says, in the same order, to the same people:

- Events of a run go to the client that asked for it. Without a client id most
  are said to nobody, but progress, previews and interruptions to everybody.
- An interruption is noticed when a node asks, or else at the start of the next
  node; it is forgotten when a new job starts.
- Results of the last graph are reused; output nodes show theirs again.
- An exception fails the job and leaves the worker well. Anything beyond
  `Exception` ends the worker without a word, and the job stays "running".
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holdfast.comfyui.standin import wire
from holdfast.comfyui.standin.blame import OUT_OF_MEMORY, Failure, explained, kind_of, words_of
from holdfast.comfyui.standin.graph import Agenda, ResultCache, Shown, is_link, signatures
from holdfast.comfyui.standin.node import (
    Blocked,
    Interrupted,
    NodeClass,
    NodeContext,
    NodeOutput,
)
from holdfast.comfyui.standin.pulse import Gone
from holdfast.comfyui.standin.sabotage import Sabotage
from holdfast.comfyui.standin.validate import type_name

if TYPE_CHECKING:
    from PIL.Image import Image

    from holdfast.comfyui.standin.life import Life


@dataclass(frozen=True, slots=True)
class Blocker:
    """Stands for an output that must not be used; travels along links."""

    message: str | None


@dataclass(slots=True)
class Run:
    """One job while it runs."""

    number: int
    """The n-th job of this server."""
    prompt_id: str
    prompt: Mapping[str, Any]
    extra_data: Any
    board: wire.ProgressBoard
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """What the history keeps of the events."""
    executed: list[str] = field(default_factory=list)
    """Nodes that ran, in order."""


class Executor:
    """Runs graphs, one at a time, in the worker thread."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._cache = ResultCache()

    def work(self) -> None:
        """Take jobs until the server dies, or something kills this thread."""
        life = self._life
        try:
            while True:
                taken = life.jobs.take()
                if taken is not None:
                    job, ticket = taken
                    self._do(ticket, job[1], job[2], job[3], job[4])
                self._obey(life.jobs.take_flags())
        except Gone:
            return
        except BaseException as error:  # noqa: BLE001 - a dead worker is a state, not a crash
            if isinstance(error, Exception):
                life.log(f"worker: {type_name(error)}: {error}")

    def _do(
        self, ticket: int, prompt_id: str, prompt: Any, extra_data: Any, outputs: list[str]
    ) -> None:
        life = self._life
        number = life.script.next_job()
        run = Run(number, prompt_id, prompt, extra_data, wire.ProgressBoard(prompt_id))
        fine = self._run(run, outputs)
        life.pulse.beat()
        shown = {node_id: self._cache.shown(node_id) for node_id in prompt}
        result = {
            "outputs": {key: entry.output for key, entry in shown.items() if entry is not None},
            "meta": {key: entry.meta for key, entry in shown.items() if entry is not None},
        }
        status = {
            "status_str": "success" if fine else "error",
            "completed": fine,
            "messages": run.messages,
        }
        life.jobs.finish(ticket, result, status)
        if life.sockets.client_id is not None:
            self._send("executing", {"node": None, "prompt_id": prompt_id})
        life.log(f"job {prompt_id} done: {status['status_str']}")

    def _obey(self, flags: Mapping[str, Any]) -> None:
        free = flags.get("free_memory", False)
        if flags.get("unload_models", free):
            self._life.memory.unload_all()
        if free:
            self._cache = ResultCache()

    # A run -----------------------------------------------------------------------------

    def _run(self, run: Run, outputs: list[str]) -> bool:
        """Run a graph to its end and say whether it went well."""
        life, cache = self._life, self._cache
        life.interrupt.clear()
        sockets = life.sockets
        # Not `get`: extra data of another type is let through here, or kills the worker, as on
        # the real server.
        given = "client_id" in run.extra_data
        sockets.client_id = run.extra_data["client_id"] if given else None
        self._record(run, "execution_start", {"prompt_id": run.prompt_id})
        cache.turn_to(signatures(run.prompt, life.catalog, life.disk))
        cached = [node_id for node_id in run.prompt if node_id in cache]
        self._record(run, "execution_cached", {"nodes": cached, "prompt_id": run.prompt_id})
        agenda = Agenda(run.prompt, life.catalog, cache.__contains__)
        for node_id in outputs:
            agenda.add(node_id)
        failure = None
        while agenda and failure is None:
            node_id = agenda.next()
            failure = self._run_node(run, node_id)
            if failure is None:
                agenda.done(node_id)
        if failure is None:
            self._record(run, "execution_success", {"prompt_id": run.prompt_id})
        else:
            self._report(run, failure)
        sockets.node_id = None
        return failure is None

    def _run_node(self, run: Run, node_id: str) -> Failure | None:
        life = self._life
        life.pulse.beat()
        if node_id in self._cache:
            if life.sockets.client_id is not None:
                shown = self._cache.shown(node_id)
                self._executed(run, node_id, None if shown is None else shown.output)
            self._send("progress_state", run.board.finish(node_id))
            return None
        cls = life.catalog[run.prompt[node_id]["class_type"]]
        inputs: dict[str, Any] | None = None
        hidden: dict[str, Any] = {}
        try:
            self._send("progress_state", run.board.start(node_id))
            pnginfo = _pnginfo(cls, run.extra_data)
            inputs = self._inputs(run, node_id, cls)
            hidden = _hidden(cls, run, node_id, pnginfo)
            if life.sockets.client_id is not None:
                life.sockets.node_id = node_id
                names = {"node": node_id, "display_node": node_id, "prompt_id": run.prompt_id}
                self._send("executing", names)
            output = self._call(run, node_id, cls, inputs, pnginfo)
        except Interrupted:
            return Failure(node_id)
        except Exception as error:  # noqa: BLE001 - whatever a node raises fails its job
            if kind_of(error) == OUT_OF_MEMORY:
                life.memory.unload_all()
            return Failure(node_id, error, None if inputs is None else inputs | hidden)
        if output.ui:
            self._cache.keep_shown(node_id, Shown(output.ui, wire.shown_meta(node_id)))
            if life.sockets.client_id is not None:
                self._executed(run, node_id, output.ui)
        self._cache.keep(node_id, output.values)
        self._send("progress_state", run.board.finish(node_id))
        run.executed.append(node_id)
        return None

    def _call(
        self,
        run: Run,
        node_id: str,
        cls: NodeClass,
        inputs: Mapping[str, Any],
        pnginfo: Any,
    ) -> NodeOutput:
        self._check()
        blocker = next((value for value in inputs.values() if isinstance(value, Blocker)), None)
        if blocker is not None:
            if blocker.message is not None:
                told = _who(run, node_id)
                self._send("execution_error", wire.blocked(told, blocker.message))
            return NodeOutput((Blocker(None),) * len(cls.outputs))
        sabotage = Sabotage(self._life, run.number, cls.name, inputs)
        context = self._context(run, node_id, pnginfo, sabotage)
        try:
            sabotage.at_start()
            return cls.run(context, **inputs)
        except Blocked as blocked:
            return NodeOutput((Blocker(str(blocked) or None),) * len(cls.outputs))

    def _context(self, run: Run, node_id: str, pnginfo: Any, sabotage: Sabotage) -> NodeContext:
        life = self._life

        def progress(
            value: int, maximum: int, preview: Image | None = None, *, whole: bool = False
        ) -> None:
            self._check()
            shown = None if preview is None else wire.encode_shown(preview, whole=whole)
            self._tell_progress(run, node_id, value, maximum, shown)
            sabotage.at_step(value)

        return NodeContext(
            node_id=node_id,
            prompt=run.prompt,
            extra_pnginfo=pnginfo,
            folders=life.disk.folders,
            memory=life.memory,
            progress=progress,
            check=self._check,
            sleep=life.pulse.sleep,
            step_seconds=life.config.step_seconds,
            temp_prefix=life.temp_prefix,
            before_save=sabotage.before_save,
            after_save=sabotage.after_save,
            is_corrupt=life.is_corrupt,
            say=lambda words: life.sockets.post(wire.text(node_id, words)),
        )

    def _inputs(self, run: Run, node_id: str, cls: NodeClass) -> dict[str, Any]:
        """Return values by input name; constants the class does not know are left out.

        So is what carries a hidden input's name: the server's own value takes its place.
        """
        inputs: dict[str, Any] = {}
        for name, value in run.prompt[node_id]["inputs"].items():
            if name in cls.hidden:
                continue
            if is_link(value):
                outputs = self._cache.values(value[0])
                known = outputs is not None and value[1] < len(outputs)
                inputs[name] = outputs[value[1]] if outputs is not None and known else None
            elif name in cls.required or name in cls.optional:
                inputs[name] = value
        return inputs

    def _check(self) -> None:
        """Raise `Interrupted` if this run must stop; the wish is used up by that."""
        self._life.pulse.beat()
        if self._life.interrupt.is_set():
            self._life.interrupt.clear()
            raise Interrupted

    # What is said ----------------------------------------------------------------------

    def _send(self, event: str, data: Mapping[str, Any]) -> None:
        self._life.sockets.post(wire.message(event, data), self._life.sockets.client_id)

    def _record(
        self, run: Run, event: str, data: Mapping[str, Any], *, to_everybody: bool = False
    ) -> None:
        """Say something that the history keeps too."""
        data = {**data, "timestamp": int(time.time() * 1000)}
        run.messages.append((event, data))
        if self._life.sockets.client_id is not None or to_everybody:
            self._send(event, data)

    def _executed(self, run: Run, node_id: str, output: Mapping[str, Any] | None) -> None:
        names = {"node": node_id, "display_node": node_id}
        self._send("executed", {**names, "output": output, "prompt_id": run.prompt_id})

    def _tell_progress(
        self, run: Run, node_id: str, value: int, maximum: int, shown: wire.ShownImage | None
    ) -> None:
        sockets = self._life.sockets
        modern = sockets.features(sockets.client_id, "supports_preview_metadata")
        self._send("progress_state", run.board.update(node_id, value, maximum))
        if shown is not None and modern:
            frame = wire.preview_with_metadata(
                shown.content, node_id, run.prompt_id, shown.mimetype
            )
            sockets.post(frame, sockets.client_id)
        steps = {"value": value, "max": maximum}
        self._send("progress", {**steps, "prompt_id": run.prompt_id, "node": node_id})
        if shown is not None and not modern:
            sockets.post(wire.preview(shown.content, shown.kind), sockets.client_id)

    def _report(self, run: Run, failure: Failure) -> None:
        told = _who(run, failure.node_id)
        if failure.error is None:
            self._record(run, "execution_interrupted", told, to_everybody=True)
            return
        error = failure.error
        self._life.log(f"{told['node_type']}: {kind_of(error)}: {words_of(error)[:1000]}")
        told |= explained(error, failure.inputs, run.prompt)
        self._record(run, "execution_error", told)


def _who(run: Run, node_id: str) -> dict[str, Any]:
    """Say where a run came to grief."""
    return {
        "prompt_id": run.prompt_id,
        "node_id": node_id,
        "node_type": run.prompt[node_id]["class_type"],
        "executed": list(run.executed),
    }


def _pnginfo(cls: NodeClass, extra_data: Any) -> Any:
    # A list as extra_data gets this far, and fails here as on the real server.
    wanted = "EXTRA_PNGINFO" in cls.hidden.values()
    return extra_data.get("extra_pnginfo") if wanted else None


def _hidden(cls: NodeClass, run: Run, node_id: str, pnginfo: Any) -> dict[str, Any]:
    """Return the hidden inputs of a class, as an error shows them; it shows a newer one's not."""
    if cls.modern:
        return {}
    known = {"PROMPT": run.prompt, "EXTRA_PNGINFO": pnginfo, "UNIQUE_ID": node_id}
    return {name: known[kind] for name, kind in cls.hidden.items() if kind in known}
