"""What one request may cost: the bytes of its body, and its time."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipcal.service.gate.attempt import Attempt
from clipcal.service.gate.problems import Refused, problem_of, too_large, too_slow
from clipcal.service.settings import MEGABYTE, Limits

ATTEMPT: Final = "clipcal.attempt"  # in a request's scope


class SmallBodies:
    """Refuses bodies over the limit, from their header or else while they are read.

    Parameters
    ----------
    app : ASGIApp
        What reads bodies.
    limits : Limits
        How large they may be.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._most = app, limits.upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app on a body whose bytes are counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told, read = _told_length(scope), 0
        if told > self._most:
            await problem_of(self._refusal())(scope, receive, send)
            return

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise self._refusal()
            return message

        await self._app(scope, counted, send)

    def _refusal(self) -> Refused:
        return too_large(
            f"The request's body is over the limit of {self._most / MEGABYTE:g} MB. Send fewer or "
            f"smaller images; whoever runs the service can raise the limit: --max-upload MB"
        )


def _told_length(scope: Scope) -> int:
    told = Headers(scope=scope).get("content-length", "")
    return int(told) if told.isdecimal() else 0


class Timely:
    """Gives a request up when it takes too long.

    A thread that works on it cannot be stopped: it ends by itself, and nobody waits for it. What
    it would write then it does not (`Attempt`).

    Parameters
    ----------
    app : ASGIApp
        What may take long.
    limits : Limits
        How long.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._seconds = app, limits.seconds
        self._left: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app; where it has not begun to answer in time, answer in its place."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = over = False
        attempt = scope[ATTEMPT] = Attempt(self._seconds)

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            if not over:
                await send(message)

        task = asyncio.ensure_future(self._run(scope, receive, watched))
        try:
            await asyncio.wait({task}, timeout=self._seconds)
            if not task.done() and not begun and attempt.give_up():
                over = True
                await problem_of(too_slow(self._seconds))(scope, receive, send)
            else:
                await task
        finally:
            self._leave(task)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def _leave(self, task: asyncio.Task[None]) -> None:
        if not task.done():
            self._left.add(task)  # or it might be collected while it runs
            task.add_done_callback(self._forget)
            task.cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # nobody is left to be told
