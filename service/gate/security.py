"""Who may ask: the token, the host that was asked for, and where a browser's request comes from.

Three things could let a stranger in. Whoever reaches the port: from elsewhere than this machine
a token is needed. A page of another site, open in a browser that may reach us: what it sends is
told by its origin, and refused. A name of such a site that is made to point here after its page
was loaded (DNS rebinding): a host that is not ours is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterator
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clipcal.service.gate.problems import Refused, problem_of
from clipcal.service.settings import LOOPBACK, Settings

API: Final = "/v1"
SESSION: Final = "/v1/session"  # where a token is handed in, so that none is needed
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
WILDCARDS: Final = frozenset({"", "0.0.0.0", "::"})
PORTS: Final = {"http": "80", "https": "443"}  # which browsers leave out of an origin

_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens at `host`."""
    if host in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def cookie_of(token: str) -> tuple[str, str]:
    """Name and value of what a browser keeps in the place of a token, which neither tells.

    Browsers keep cookies by host, whatever the port: each service of a machine has a name of its
    own for its cookie, or one would overwrite the other's.
    """
    name = f"clipcal_{_keyed(token, 'the name of a cookie')[:8]}"
    return name, _keyed(token, "a browser's session")


def _keyed(token: str, use: str) -> str:
    return hmac.new(token.encode(), f"clipcal: {use}".encode(), hashlib.sha256).hexdigest()


def same(given: str, expected: str) -> bool:
    """Compare secrets in a time that tells nothing of them; what is given may be no sound text."""
    return hmac.compare_digest(given.encode(errors="surrogatepass"), expected.encode())


class Hardened:
    """Says in every answer what a browser may do with it.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, and add headers to its answer."""
        private = _of_the_api(scope)

        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if private:
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, hardened if scope["type"] == "http" else send)


class Guard:
    """Lets through what may be asked.

    Parameters
    ----------
    app : ASGIApp
        What is guarded.
    settings : Settings
        The token and the hosts.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._token = app, settings.token
        self._hosts = _Hosts(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app, or refuse."""
        try:
            if scope["type"] == "http":
                self._check(scope)
        except Refused as refusal:
            await problem_of(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._hosts.check(headers.get("host", ""))
        if scope["method"] not in SAFE or _of_the_api(scope):
            self._hosts.check_origin(headers)
        if _of_the_api(scope) and scope["path"] != SESSION and self._token is not None:
            _check_token(headers, self._token)


def check_given(given: str, settings: Settings) -> None:
    """Refuse a token that is not the service's.

    Raises
    ------
    Refused
        401.
    """
    if settings.token is not None and not same(given, settings.token):
        raise _unknown()


def _of_the_api(scope: Scope) -> bool:
    path: str = scope.get("path", "")
    return path == API or path.startswith(f"{API}/")


def _check_token(headers: Headers, token: str) -> None:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and same(given.strip(), token):
        return
    name, expected = cookie_of(token)
    if not any(same(kept, expected) for kept in _cookies(headers, name)):
        raise _unknown()


def _cookies(headers: Headers, name: str) -> Iterator[str]:
    """All that a browser keeps under a name: other applications of the host may set it, too."""
    for header in headers.getlist("cookie"):
        for one in header.split(";"):
            if (kept := cookie_parser(one).get(name)) is not None:
                yield kept


def _unknown() -> Refused:
    return Refused(
        401,
        "A token is needed. It is part of the address that clipcal serve printed, after "
        "#token=; programs send it as: Authorization: Bearer TOKEN",
        headers={"WWW-Authenticate": 'Bearer realm="clipcal"'},
    )


class _Hosts:
    """The names by which the service may be asked."""

    def __init__(self, settings: Settings) -> None:
        bound = settings.host if settings.bound is None else settings.bound
        self._open = settings.host in WILDCARDS or bound in WILDCARDS
        self._any = self._open and settings.token is not None
        self._named = [name.lower() for name in settings.hosts]
        self._known = {*LOOPBACK, settings.host.lower(), bound, *map(_host, self._named)}

    def check(self, written: str) -> None:
        """Refuse a host that is not ours.

        A number cannot be made to point elsewhere, so that a service which listens everywhere
        may be asked by any number.
        """
        host = _host(written.lower())
        if not (self._any or host in self._known or (self._open and _is_number(host))):
            raise Refused(
                421,
                f"{host[:100] or 'An unnamed host'} is not a name of this service. Whoever runs "
                f"it can add one: --host-name NAME",
            )

    def check_origin(self, headers: Headers) -> None:
        """Refuse what a page of another site sends.

        Browsers tell where a request comes from; other programs say nothing, and could say
        anything. What listens at another port of our host is another site. A proxy may ask by a
        name of its own, and then the page has one that was given.
        """
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        elsewhere = site not in (None, "same-origin", "none")
        if elsewhere or not (origin is None or self._ours(origin, headers.get("host", ""))):
            raise Refused(
                403,
                "A page of another site may not ask this service. Its own page, behind a proxy, "
                "has a name that was given: --host-name NAME, or NAME:PORT",
            )

    def _ours(self, origin: str, asked: str) -> bool:
        scheme, _, page = origin.lower().partition("://")
        if scheme not in PORTS:
            return False
        ours = {_place(name, scheme) for name in (asked.lower(), *self._named)}
        return _place(page, scheme) in ours


def _place(written: str, scheme: str) -> tuple[str, str]:
    """Host and port, of which the scheme's own need not be written."""
    host, port = _parted(written)
    return host, port or PORTS[scheme]


def _host(written: str) -> str:
    return _parted(written)[0]


def _parted(written: str) -> tuple[str, str]:
    if written.startswith("["):
        host, _, rest = written[1:].partition("]")
        return host, rest.removeprefix(":")
    if written.count(":") > 1:  # an IPv6 number, where no port can stand
        return written, ""
    host, _, port = written.partition(":")
    return host, port


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
