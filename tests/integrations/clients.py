"""The four clients under test, behind one face, so that one test states the rule for all."""

from __future__ import annotations

import asyncio
import contextvars
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
import requests

from holdfast.integrations.aiohttp import resilient
from holdfast.integrations.httpx import AsyncResilientTransport, ResilientTransport
from holdfast.integrations.requests import ResilientAdapter


@dataclass(frozen=True)
class Answer:
    status: int
    text: str


def chunks():
    yield b"a bit "
    yield b"at a time"


async def async_chunks():
    for chunk in chunks():
        yield chunk


class Requests:
    lost = requests.ConnectionError
    stream = staticmethod(chunks)

    def __init__(self, pipeline, **options):
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount("http://", ResilientAdapter(pipeline, **options))

    def send(self, method, url, *, headers=None, body=None):
        with self.session.request(method, url, headers=headers, data=body) as response:
            return Answer(response.status_code, response.text)

    def close(self):
        self.session.close()


class Httpx:
    lost = httpx.RemoteProtocolError
    stream = staticmethod(chunks)

    def __init__(self, pipeline, **options):
        transport = ResilientTransport(pipeline, **options)
        self.client = httpx.Client(transport=transport, trust_env=False)

    def send(self, method, url, *, headers=None, body=None):
        response = self.client.request(method, url, headers=headers, content=body)
        assert response.elapsed.total_seconds() >= 0
        return Answer(response.status_code, response.text)

    def close(self):
        self.client.close()


class AsyncClient:
    """A client in an event loop of its own."""

    def __init__(self, pipeline, **options):
        self.runner = asyncio.Runner()
        try:
            self.client: Any = self.runner.run(self.make(pipeline, options))
        except BaseException:
            self.runner.close()
            raise

    def send(self, method, url, *, headers=None, body=None):
        # In the caller's context: a runner has one of its own, without the caller's deadline.
        context = contextvars.copy_context()
        return self.runner.run(self.sending(method, url, headers, body), context=context)

    def close(self):
        self.runner.run(self.closing())
        self.runner.close()


class AsyncHttpx(AsyncClient):
    lost = httpx.RemoteProtocolError
    stream = staticmethod(async_chunks)

    async def make(self, pipeline, options):
        transport = AsyncResilientTransport(pipeline, **options)
        return httpx.AsyncClient(transport=transport, trust_env=False)

    async def sending(self, method, url, headers, body):
        response = await self.client.request(method, url, headers=headers, content=body)
        assert response.elapsed.total_seconds() >= 0
        return Answer(response.status_code, response.text)

    async def closing(self):
        await self.client.aclose()


class Aiohttp(AsyncClient):
    lost = aiohttp.ServerDisconnectedError
    stream = staticmethod(async_chunks)

    async def make(self, pipeline, options):
        return aiohttp.ClientSession(middlewares=[resilient(pipeline, **options)])

    async def sending(self, method, url, headers, body):
        async with self.client.request(method, url, headers=headers, data=body) as response:
            return Answer(response.status, await response.text())

    async def closing(self):
        await self.client.close()


CLIENTS = [Requests, Httpx, AsyncHttpx, Aiohttp]
