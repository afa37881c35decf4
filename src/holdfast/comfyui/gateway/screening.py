"""What a prompt may load, and whether a server would take it: the same for every way in.

All users' files lie side by side on the servers, under names that can be guessed: what was made in
their output folders, what was sent in their input folders as ``holdfast_...``. So a prompt of a
user names files that the gateway has of that user, or what the servers' owner has put into their
input folders, and nothing else. Custom nodes that read any path of a server's disk are beyond this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from holdfast.comfyui.durable.orders import suffix_of
from holdfast.comfyui.gateway.desk import Desk
from holdfast.comfyui.gateway.guard import Refusal
from holdfast.comfyui.gateway.references import (
    Reference,
    is_ours,
    is_upload_input,
    references,
    texts,
    unsafe,
)
from holdfast.comfyui.gateway.validation import Accepted, judge

Known = Mapping[tuple[str, str], tuple[Reference, str]]
"""Inputs whose file the gateway has: by node and input, the content's SHA-256."""

_MADE = ("[output]", "[temp]")
"""How a name ends that is not looked for among what was sent. A server cuts that off together with
the one character before it, whichever that is."""


class Screening:
    """Looks over prompts before they are taken in."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def files(self, user: str, graph: Mapping[str, Any]) -> Known:
        """The inputs whose file the gateway has.

        Raises:
            Refusal: an input names a file that this user cannot have.
        """
        catalogs = self._desk.info.catalogs()
        named = references(graph, catalogs)
        known = await self._desk.ask(self._look_up, user, named) if named else {}
        for node_id, name, value in texts(graph):
            if (node_id, name) in known:
                continue
            class_type = graph[node_id]["class_type"]
            if unsafe(value) and is_upload_input(class_type, name, catalogs):
                raise _not_yours(node_id, name, "leads out of its folder")
            if is_ours(value) or (user and value.endswith(_MADE)):
                raise _not_yours(node_id, name, "is no file of yours")
        return known

    def _look_up(self, user: str, named: tuple[Reference, ...]) -> Known:
        store, blobs = self._desk.store, self._desk.blobs
        found = {}
        for each in named:
            file = each.file
            upload = store.find_upload(user, file.filename, file.subfolder, file.type)
            digest = None if upload is None else upload.sha256
            if digest is None and file.type != "input":
                made = store.find_file(file.filename, file.subfolder, file.type, user)
                digest = None if made is None else made.sha256
            if digest is not None and blobs.path(digest) is not None:
                found[each.node_id, each.input] = (each, digest)
        return found

    async def judged(
        self,
        graph: Mapping[str, Any],
        known: Collection[tuple[str, str]],
        targets: Collection[str] | None = None,
    ) -> Accepted:
        """What of a prompt a server would run.

        Raises:
            Refusal: no server would take it.
        """
        try:
            return await self._judge(graph, known, targets)
        except Refusal:
            if self._desk.info.fresh:
                raise
        # A model or node may have come since the servers were last asked.
        await self._desk.info.refresh()
        return await self._judge(graph, known, targets)

    async def _judge(
        self,
        graph: Mapping[str, Any],
        known: Collection[tuple[str, str]],
        targets: Collection[str] | None,
    ) -> Accepted:
        def look() -> Accepted:
            return judge(
                graph,
                self._desk.info.catalogs(),
                targets=targets,
                known_files=set(known),
                fetches_models=self._desk.fetches_models,
            )

        large = len(graph) > 60
        return await asyncio.to_thread(look) if large else look()


def contents(known: Known, graph: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What a job's payload says of the files that its nodes load."""
    kept = [each for each in known.values() if each[0].node_id in graph]
    return {
        "files": {reference.key: digest for reference, digest in kept},
        "suffixes": {digest: suffix_of(reference.file.filename) for reference, digest in kept},
    }


def _not_yours(node_id: str, name: str, why: str) -> Refusal:
    words = f"Input {name[:100]!r} of node #{node_id[:100]} names a file that {why}"
    return Refusal("file_not_found", words, "Upload the file, or name one that a job of yours made")
