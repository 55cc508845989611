"""An application on a port: uvicorn, in one process, until it is told to end."""

from __future__ import annotations

import math
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI

from clipcal.errors import ProviderError
from clipcal.service.gate.security import WILDCARDS

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
# Reserved for documentation: asking the way there tells our own address, and sends nothing.
_ELSEWHERE: Final = ("192.0.2.1", 9)


def bind(host: str, port: int) -> socket.socket:
    """Take a port, before anything listens on it.

    Parameters
    ----------
    host : str
        A name or a number of this machine; empty for all of them.
    port : int
        Which; 0 for any that is free.

    Returns
    -------
    socket.socket
        Bound.

    Raises
    ------
    ProviderError
        If the port is taken, or the host is not of this machine.
    """
    taken = None
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, place = found[0]
        taken = socket.socket(family, kind, protocol)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(place)
    except OSError as error:
        if taken is not None:
            taken.close()
        raise ProviderError(
            f"Nothing can listen at {host}:{port} ({(error.strerror or str(error)).lower()}). Name "
            f"another port, or let one be found: clipcal serve --port 0"
        ) from error
    return taken


def address_of(listener: socket.socket, token: str | None = None) -> str:
    """Where a browser finds the page; with a token the address hands it in.

    A service that listens everywhere is told by the number that this machine has towards others.
    """
    host, port = listener.getsockname()[:2]
    host = _outward() if host in WILDCARDS else host
    written = f"[{host}]" if ":" in host else host
    return f"http://{written}:{port}/" + (f"#token={quote(token, safe='')}" if token else "")


def serve(
    app: FastAPI,
    listener: socket.socket,
    *,
    ready: Callable[[], object],
    grace: float,
    verbose: bool = False,
) -> None:
    """Answer requests until SIGINT or SIGTERM; what was begun is answered first.

    Parameters
    ----------
    app : FastAPI
        What answers.
    listener : socket.socket
        From `bind`; closed at the end.
    ready : callable
        Called once requests are answered.
    grace : float
        Seconds that requests have to end.
    verbose : bool
        Whether every request is logged.
    """
    config = uvicorn.Config(
        app,
        log_config=None,  # what is a warning goes the way of all warnings, the rest nowhere
        access_log=verbose,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(grace),
        ws="none",
    )
    server = _Server(config, ready)
    with listener, _ended_by_signals(server):
        server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Tells when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


@contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Make signals end the server and nothing else.

    uvicorn raises them again when it has ended, so that the process would die of them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _outward() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(_ELSEWHERE)
        except OSError:  # no network
            return "127.0.0.1"
        return str(asking.getsockname()[0])
