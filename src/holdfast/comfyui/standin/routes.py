"""The HTTP endpoints about jobs, nodes and models, each also under ``/api``.

Thin: a handler reads the request, asks the life of the server, and answers in
the real server's shapes. What the real server does not expect raises here too,
and becomes the same bare 500. Faults that strike requests are let in by one
middleware, before the handler runs.

``GET /holdfast/standin/faults`` is ours: which faults there are, and which have
struck. No fault touches it. A method that a path does not know is answered with
405, a path that nobody knows with 404, and ``OPTIONS`` always with 200.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from holdfast.comfyui.standin.config import FOLDER_NAMES
from holdfast.comfyui.standin.faults import WHOLE_PROCESS, Fault
from holdfast.comfyui.standin.files import SPEED, FileRoutes
from holdfast.comfyui.standin.objectinfo import describe, object_info
from holdfast.comfyui.standin.page import PageRoutes
from holdfast.comfyui.standin.script import Point
from holdfast.comfyui.standin.validate import NO_PROMPT, validate_prompt

if TYPE_CHECKING:
    from holdfast.comfyui.standin.life import Life

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OURS = "/holdfast/"
SLICE_SECONDS = 0.05
"""A slowed answer goes out in slices this far apart."""


def application(life: Life) -> web.Application:
    """Everything a server answers to."""
    middlewares = [_faults(life), _options]
    app = web.Application(client_max_size=life.config.max_upload, middlewares=middlewares)
    routes, page = Routes(life), PageRoutes(life)
    pairs = [*routes.listed(), *page.listed(), *FileRoutes(life.disk).listed()]
    app.add_routes([web.route(verb, f"/api{path}", handler) for verb, path, handler in pairs])
    app.add_routes([web.route(verb, path, handler) for verb, path, handler in pairs])
    app.add_subapp("/internal", page.internal())
    app.router.add_get(f"{OURS}standin/faults", routes.get_faults)
    app.router.add_get("/{path:.*}", routes.unknown)
    return app


class Routes:
    """The endpoints about jobs, nodes and the server itself."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def listed(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler of each."""
        return [
            ("GET", "/ws", self.get_ws),
            ("GET", "/prompt", self.get_prompt),
            ("POST", "/prompt", self.post_prompt),
            ("GET", "/queue", self.get_queue),
            ("POST", "/queue", self.post_queue),
            ("GET", "/history", self.get_history),
            ("POST", "/history", self.post_history),
            ("GET", "/history/{prompt_id}", self.get_finished),
            ("POST", "/interrupt", self.post_interrupt),
            ("POST", "/free", self.post_free),
            ("GET", "/system_stats", self.get_system_stats),
            ("GET", "/features", self.get_features),
            ("GET", "/object_info", self.get_object_info),
            ("GET", "/object_info/{node}", self.get_node_info),
            ("GET", "/models", self.get_model_folders),
            ("GET", "/models/{folder}", self.get_models),
            ("GET", "/embeddings", self.get_embeddings),
        ]

    # Jobs ------------------------------------------------------------------------------

    async def get_ws(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket."""
        return await self._life.sockets.serve(request, self._life.queue_info)

    async def get_prompt(self, _request: web.Request) -> web.Response:
        """Tell how many jobs wait or run."""
        return web.json_response(self._life.queue_info())

    async def post_prompt(self, request: web.Request) -> web.Response:
        """Judge a graph and queue it."""
        life = self._life
        life.log("got prompt")
        body = await request.json()
        number: Any
        if "number" in body:
            number = float(body["number"])
        else:
            front = "front" in body and body["front"]
            number = -life.number if front else life.number
            life.number += 1
        if "prompt" not in body:
            return web.json_response({"error": NO_PROMPT, "node_errors": {}}, status=400)
        prompt = body["prompt"]
        prompt_id = str(body.get("prompt_id", uuid.uuid4()))
        targets = body.get("partial_execution_targets")
        verdict = validate_prompt(prompt, life.offered(), life.disk, targets)
        extra_data = body.get("extra_data", {})
        if "client_id" in body:
            extra_data["client_id"] = body["client_id"]
        if verdict.error is not None:
            life.log(f"invalid prompt: {verdict.error}")
            refusal = {"error": verdict.error, "node_errors": verdict.node_errors}
            return web.json_response(refusal, status=400)
        life.jobs.put((number, prompt_id, prompt, extra_data, verdict.outputs))
        accepted = {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        return web.json_response(accepted)

    async def get_queue(self, _request: web.Request) -> web.Response:
        """Tell what runs and what waits."""
        jobs = self._life.jobs
        return web.json_response({"queue_running": jobs.running(), "queue_pending": jobs.waiting()})

    async def post_queue(self, request: web.Request) -> web.Response:
        """Drop waiting jobs."""
        body = await request.json()
        if "clear" in body and body["clear"]:  # noqa: RUF019 - a list is a fine body here
            self._life.jobs.clear()
        if "delete" in body:
            for prompt_id in body["delete"]:
                self._life.jobs.delete(prompt_id)
        return web.Response(status=200)

    async def get_history(self, request: web.Request) -> web.Response:
        """Tell of all finished jobs."""
        query = request.rel_url.query
        most, offset = query.get("max_items"), query.get("offset")
        return web.json_response(
            self._life.jobs.history(
                max_items=None if most is None else int(most),
                offset=-1 if offset is None else int(offset),
            )
        )

    async def get_finished(self, request: web.Request) -> web.Response:
        """Tell of one finished job."""
        return web.json_response(self._life.jobs.finished(request.match_info["prompt_id"]))

    async def post_history(self, request: web.Request) -> web.Response:
        """Forget finished jobs."""
        body = await request.json()
        if "clear" in body and body["clear"]:  # noqa: RUF019 - a list is a fine body here
            self._life.jobs.clear_history()
        if "delete" in body:
            for prompt_id in body["delete"]:
                self._life.jobs.forget(prompt_id)
        return web.Response(status=200)

    async def post_interrupt(self, request: web.Request) -> web.Response:
        """Ask the running job to stop: any, or only one of a given id."""
        try:
            body = await request.json()
        except json.JSONDecodeError:
            body = {}
        prompt_id = body.get("prompt_id")
        if not prompt_id or any(job[1] == prompt_id for job in self._life.jobs.running()):
            self._life.interrupt.set()
        return web.Response(status=200)

    async def post_free(self, request: web.Request) -> web.Response:
        """Leave a wish to free memory, for after the running job."""
        body = await request.json()
        for name in ("unload_models", "free_memory"):
            if wish := body.get(name, False):
                self._life.jobs.set_flag(name, wish)
        return web.Response(status=200)

    # The server ------------------------------------------------------------------------

    async def get_system_stats(self, _request: web.Request) -> web.Response:
        """Tell of the machine."""
        return web.json_response(self._life.system_stats())

    async def get_features(self, _request: web.Request) -> web.Response:
        """Tell what the server can do."""
        return web.json_response(self._life.sockets.server_features())

    async def get_object_info(self, _request: web.Request) -> web.Response:
        """Describe all node classes."""
        return web.json_response(object_info(self._life.offered(), self._life.disk))

    async def get_node_info(self, request: web.Request) -> web.Response:
        """Describe one node class."""
        name = request.match_info["node"]
        node = self._life.offered().get(name)
        return web.json_response({} if node is None else {name: describe(node, self._life.disk)})

    async def get_model_folders(self, _request: web.Request) -> web.Response:
        """List the kinds of models."""
        return web.json_response(list(FOLDER_NAMES))

    async def get_models(self, request: web.Request) -> web.Response:
        """List the models of one kind."""
        folder = request.match_info["folder"]
        if folder not in FOLDER_NAMES:  # former names are not known here
            return web.Response(status=404)
        return web.json_response(self._life.disk.models(folder))

    async def get_embeddings(self, _request: web.Request) -> web.Response:
        """List the embeddings, without suffixes."""
        names = self._life.disk.models("embeddings")
        return web.json_response([name.rpartition(".")[0] for name in names])

    async def get_faults(self, _request: web.Request) -> web.Response:
        """Ours: the faults there are, and those that struck."""
        script = self._life.script
        return web.json_response(
            {
                "faults": [_said(fault) for fault in script.faults],
                "fired": [dataclasses.asdict(fired) for fired in script.fired],
                "now": self._life.now(),
            }
        )

    async def unknown(self, request: web.Request) -> web.StreamResponse:
        """Serve a file of the web page if there is one; else know nothing of this path."""
        page = self._life.config.page
        if page is not None and request.method in {"GET", "HEAD"}:
            root = page.resolve()
            wanted = (root / (request.match_info["path"] or "index.html")).resolve()
            if wanted.is_relative_to(root) and wanted.is_file():
                return web.FileResponse(wanted)
        return web.Response(status=404)


def _said(fault: Fault) -> dict[str, Any]:
    """Return what was said of a fault, defaults left out."""
    defaults = {field.name: field.default for field in dataclasses.fields(fault)}
    stated = dataclasses.asdict(fault)
    return {name: value for name, value in stated.items() if value != defaults[name]}


@web.middleware
async def _options(request: web.Request, handler: Handler) -> web.StreamResponse:
    return web.Response() if request.method == "OPTIONS" else await handler(request)


# Faults --------------------------------------------------------------------------------


def _faults(life: Life) -> Any:
    @web.middleware
    async def let_in(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.path
        if path.startswith(OURS):
            return await handler(request)
        path = path.removeprefix("/api") if path.startswith("/api/") else path
        posted = request.method == "POST" and path == "/prompt"
        post = life.script.next_post() if posted else 0
        struck = life.script.happens(Point("request", life.now(), post=post, path=path))
        if not struck:
            # No waiting here: a request that came with its client already gone must still be read.
            return await handler(request)
        return await _suffering(life, request, handler, struck)

    return let_in


async def _suffering(
    life: Life, request: web.Request, handler: Handler, struck: tuple[Fault, ...]
) -> web.StreamResponse:
    """Answer a request that faults have struck."""
    for fault in struck:
        if fault.kind in WHOLE_PROCESS:
            life.suffer(fault)
            life.pulse.hold()
    if not life.pulse.alive:
        await asyncio.Event().wait()  # until the end of this life cancels it
    faults = {fault.kind: fault for fault in struck}
    if error := faults.get("http_error"):
        return _http_error(error)
    if slow := faults.get("slow"):
        await asyncio.sleep(slow.seconds or 0.0)
        request[SPEED] = slow.bytes_per_second
    response = await handler(request)
    if "lost_response" in faults and request.transport is not None:
        request.transport.abort()
    speed = request.get(SPEED)
    if speed is not None and isinstance(response, web.Response):
        return await _slowed(request, response, speed)
    return response


def _http_error(fault: Fault) -> web.Response:
    headers = {}
    if fault.retry_after is not None:
        headers["Retry-After"] = f"{fault.retry_after:g}"
    title = f"{fault.status} {HTTPStatus(fault.status).phrase}"
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return web.Response(status=fault.status, text=page, content_type="text/html", headers=headers)


async def _slowed(request: web.Request, response: web.Response, speed: int) -> web.StreamResponse:
    """Send an answer slice by slice."""
    body = response.body if isinstance(response.body, bytes | bytearray) else b""
    slow = web.StreamResponse(status=response.status, headers=response.headers)
    slow.content_length = len(body)
    await slow.prepare(request)
    size = max(1, round(speed * SLICE_SECONDS))
    for start in range(0, len(body), size):
        await asyncio.sleep(SLICE_SECONDS)
        await slow.write(bytes(body[start : start + size]))
    await slow.write_eof()
    return slow
