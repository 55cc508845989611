"""``clipcal serve``."""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clipcal.commands.common import (
    calibration_option,
    corpus_option,
    device_option,
    json_option,
    moved_model_option,
    print_json,
    prompt_options,
    say,
)
from clipcal.errors import ProviderError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from clipcal.service.settings import Settings

TOKEN = "CLIPCAL_TOKEN"
_NEEDED = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")
_SHORTEST = 16  # characters of a token
_NAME = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+)(:[0-9]{1,5})?")


def _names(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what no browser would send as a host."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise click.BadParameter(
                f"{name} is neither a host nor HOST:PORT, as images.example.org:8443 is."
            )
    return names


@click.command("serve")
@calibration_option("The thresholds that are applied, and written when new ones are saved.")
@prompt_options
@moved_model_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="0: any free one.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Holds the token that every request must bring. [default: ${TOKEN}; else, where others "
    "than this machine can ask, one is made]",
)
@click.option("--no-token", is_flag=True, help="Let everybody in who can reach the port.")
@click.option(
    "--allow-anyone", is_flag=True, help="With --no-token, also from elsewhere than this machine."
)
@click.option(
    "--host-name",
    "host_names",
    metavar="NAME[:PORT]",
    multiple=True,
    callback=_names,
    help="A further name by which browsers find the service, as behind a proxy; with the port that "
    "they ask, unless it is 80 or 443.",
)
@click.option(
    "--max-upload",
    type=click.IntRange(1, 4096),
    default=32,
    show_default=True,
    metavar="MB",
    help="The largest request.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=100_000_000,
    show_default=True,
    help="The largest image.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="When a request is given up.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
@click.option("--verbose", is_flag=True, help="Log every request.")
@corpus_option
@device_option
@json_option
def serve_command(
    calibration: Path,
    prompts: str | None,
    prompt_vectors: Path | None,
    model: str | None,
    host: str,
    port: int,
    token_file: Path | None,
    no_token: bool,
    allow_anyone: bool,
    host_names: tuple[str, ...],
    max_upload: int,
    max_pixels: int,
    timeout: float,
    open_page: bool,
    verbose: bool,
    corpus_path: Path,
    device: str,
    as_json: bool,
) -> None:
    """Serve the page and the HTTP API for one corpus, until Ctrl-C.

    People classify, review, label and move thresholds on the page; programs ask the API, which
    /v1/openapi.json describes. It is one process: start one per corpus.

    \b
    Example:
      clipcal serve
      clipcal serve --host 0.0.0.0 --port 9000
    """
    _require_extra()
    from clipcal.service.server import bind
    from clipcal.service.settings import MEGABYTE, Limits, Settings

    token = _token(host, token_file, no_token=no_token, allow_anyone=allow_anyone)
    settings = Settings(
        corpus=corpus_path,
        calibration=calibration,
        prompts=prompts,
        prompt_vectors=prompt_vectors,
        model=model,
        device=device,
        host=host,
        port=port,
        token=token,
        hosts=host_names,
        limits=Limits(upload=max_upload * MEGABYTE, pixels=max_pixels, seconds=timeout),
    )
    if verbose:
        logging.basicConfig(level=logging.INFO)
    _serve(settings, bind(host, port), open_page=open_page, verbose=verbose, as_json=as_json)


def _require_extra() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ProviderError(
            f"Serving needs {', '.join(missing)}, not installed here: "
            f"pip install 'clipcal[service]'"
        )


def _token(host: str, file: Path | None, *, no_token: bool, allow_anyone: bool) -> str | None:
    """Choose the token: one that is given, or a new one where others can ask."""
    from clipcal.service.gate.security import is_loopback

    if no_token:
        if file is not None:
            raise click.UsageError("--no-token and --token-file exclude each other.")
        if not (allow_anyone or is_loopback(host)):
            raise click.UsageError(
                f"Whoever reaches {host} could read and label the corpus without a token. Leave "
                f"--no-token away, or mean it: --no-token --allow-anyone"
            )
        return None
    given = _read_token(file) if file is not None else os.environ.get(TOKEN, "").strip()
    if given:
        return _checked(given)
    return None if is_loopback(host) else secrets.token_urlsafe(32)


def _read_token(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file} cannot be read as a token: {error}.") from error
    if not text:
        raise click.UsageError(f"{file} is empty; it must hold the token.")
    return text


def _checked(token: str) -> str:
    from clipcal.service.schemas.health import LONGEST_TOKEN

    plain = token.isascii() and token.isprintable() and " " not in token
    if not (plain and _SHORTEST <= len(token) <= LONGEST_TOKEN):
        raise click.UsageError(
            f"The token must have {_SHORTEST} to {LONGEST_TOKEN:,} ASCII characters without "
            f"blanks. Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return token


def _serve(
    settings: Settings, listener: socket.socket, *, open_page: bool, verbose: bool, as_json: bool
) -> None:
    from clipcal.service.app import create_app
    from clipcal.service.server import address_of, serve

    with listener:
        app = create_app(replace(settings, bound=listener.getsockname()[0]))
        served = _served(app)
        page = address_of(listener, settings.token)

        def ready() -> None:
            if as_json:
                print_json({"url": address_of(listener), "token": settings.token, **served})
            say(f"Open {page} (Ctrl-C ends the service)", quiet=as_json)
            if open_page:
                click.launch(page)

        say(_described(served), quiet=as_json)
        serve(app, listener, ready=ready, grace=settings.limits.seconds, verbose=verbose)


def _served(app: FastAPI) -> dict[str, object]:
    """What is served; read now, so that the first page need not wait for it."""
    settings, workspace = app.state.context.settings, app.state.context.workspace
    view = workspace.view()
    return {
        "corpus": str(settings.corpus),
        "images": len(view.ids),
        "labelled": len(workspace.pool().match.rows),
        "calibration": str(settings.calibration) if view.contract else None,
        "prompts": view.prompt_set.name,
    }


def _described(served: dict[str, object]) -> str:
    calibration = served["calibration"] or f"no calibration yet (prompt set {served['prompts']})"
    return (
        f"{served['corpus']}: {served['images']:,} images, {served['labelled']:,} of them "
        f"labelled; {calibration}"
    )
