"""A pipeline around every request of a Starlette or FastAPI app, or of any ASGI app.

::

    app.add_middleware(ResilienceMiddleware, pipeline=LoadShedder())

- What the policies refuse is answered 429 (a rate limit) or 503 (everything else),
  with Retry-After. So is what the app itself lets out of a pipeline's refusals.
- A response that has begun is never replaced, and no request is run twice: it can
  be read only once. The client may repeat it, and is told when.
- A request keeps its place until the app is done with it, background tasks after its
  last byte included. When the client goes away before that byte, it gives its place
  back at once: what it runs is cancelled.
- Websockets and the life of the app pass untouched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, MutableMapping
from contextlib import nullcontext
from typing import Any

from holdfast.errors import BadInputError, DeadlineExceededError, RejectedError
from holdfast.integrations.asgi import App, Ear, Receive, Reply, Send
from holdfast.integrations.hosts import Guard, pipeline_of
from holdfast.policies import checks
from holdfast.policies.policy import Bound, Policy
from holdfast.policies.scope import Deadline


class ResilienceMiddleware:
    """Runs an ASGI app's requests through a pipeline."""

    def __init__(
        self,
        app: App,
        pipeline: Guard,
        *,
        deadline_header: str | None = None,
        max_deadline: float = 300.0,
        retry_after: float | None = 1.0,
        exempt: Collection[str] = (),
        cancel_on_disconnect: bool = True,
    ) -> None:
        """Put ``pipeline`` around ``app``.

        Args:
            app: the ASGI app.
            pipeline: a pipeline or policy that calls no more than once. Its call gets the ASGI
                scope as first argument, for `LoadShedder(priority=lambda scope, *_: ...)`.
            deadline_header: request header with the seconds the client will wait, such as
                `X-Request-Timeout`; None: no header is believed.
            max_deadline: seconds a client may ask for at most.
            retry_after: seconds told to clients when no policy can tell; None: say nothing.
            exempt: paths that always pass, such as those of health checks.
            cancel_on_disconnect: whether the work for a client that has gone away is cancelled.

        Raises:
            BadInputError: naming the field, its value and what is right.
        """
        checks.seconds("max_deadline", max_deadline)
        checks.seconds("retry_after", retry_after, zero=True, optional=True)
        self.app = app
        given: Any = exempt
        paths = isinstance(given, Collection) and not isinstance(given, str | bytes)
        if not paths or not all(isinstance(path, str) for path in given):
            raise BadInputError(f"exempt must be some paths, such as ['/health'], got {exempt!r}")
        if deadline_header is not None:
            checks.label("deadline_header", deadline_header)
        checks.flag("cancel_on_disconnect", cancel_on_disconnect)
        self.pipeline = pipeline_of(pipeline)
        self._checked: tuple[Policy, ...] = ()
        self._refuse_repeats()
        self._header = None if deadline_header is None else deadline_header.lower().encode()
        self._max_deadline = max_deadline
        self._retry_after = retry_after
        self._exempt = frozenset(exempt)
        self._cancels = cancel_on_disconnect

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["path"] in self._exempt:
            await self.app(scope, receive, send)
            return
        reply = Reply(send)
        if not self._cancels:
            await self._serve(scope, receive, reply)
            return
        ear = Ear(receive, reply)
        listening = asyncio.create_task(ear.listen(), name="holdfast-disconnect")
        try:
            await self._serve(scope, ear.receive, reply)
        except asyncio.CancelledError:
            if not ear.cancelled_us():
                raise
        finally:
            reply.over = True
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    def _refuse_repeats(self) -> None:
        # A named pipeline's policies change when its configuration does.
        policies = self.pipeline.policies
        if policies is self._checked:
            return
        for policy in policies:
            if policy.bound(Bound(1.0, 1)).calls > 1:
                raise BadInputError(
                    "pipeline must not call more than once, because a request can be read only "
                    f"once; take out {policy.describe()!r:.100} and let the client repeat"
                )
        self._checked = policies

    async def _serve(self, scope: MutableMapping[str, Any], receive: Receive, reply: Reply) -> None:
        failure: Exception | None = None
        self._refuse_repeats()

        async def run(*request: Any) -> Any:
            nonlocal failure
            try:
                await self.app(*request)
            except Exception as error:
                failure = error
                raise

        try:
            with self._deadline(scope):
                instead: Any = await self.pipeline.execute(run, scope, receive, reply.send)
        except (RejectedError, DeadlineExceededError) as refusal:
            if reply.begun:
                raise
            await reply.refuse(refusal, self._retry_after)
        else:
            if failure is not None and reply.begun:
                # A fallback has swallowed it, but half a response is no response.
                raise failure
            if instead is not None and not reply.begun:
                await instead(scope, receive, reply.send)
        finally:
            # Or this frame and the exception would keep each other alive.
            failure = None

    def _deadline(self, scope: MutableMapping[str, Any]) -> Any:
        for name, value in scope["headers"] if self._header is not None else ():
            if name == self._header:
                try:
                    seconds = float(value)
                except ValueError:
                    break
                if seconds >= 0:
                    return Deadline.after(min(seconds, self._max_deadline))
        return nullcontext()
