"""A server in a process of its own: what tests of the running service share."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

CLI = Path(__file__).resolve().parents[1] / "cli.py"


@dataclass(frozen=True)
class Served:
    """A running server and the files that it serves.

    Attributes
    ----------
    url : str
        Its address, without a slash at the end.
    folder : pathlib.Path
        Holds ``corpus`` and ``calibration.json``.
    process : subprocess.Popen
        The server.
    """

    url: str
    folder: Path
    process: subprocess.Popen[str]

    @property
    def port(self) -> str:
        """Where it listens, for a server that is to take its place."""
        return self.url.rpartition(":")[2]

    def get(self, path: str, **parameters: object) -> Any:
        """Ask the API, as a program beside the page does."""
        return self._ask("GET", path, params=parameters)

    def post(self, path: str, body: object) -> Any:
        """Send a body to the API."""
        return self._ask("POST", path, json=body)

    def upload(self, path: str, file: Path, **fields: str) -> Any:
        """Send an image to the API, as the field ``image``."""
        files = {"image": (file.name, file.read_bytes())}
        return self._ask("POST", path, files=files, data=fields)

    def _ask(self, method: str, path: str, **what: Any) -> Any:
        with httpx.Client(trust_env=False, timeout=60) as client:
            reply = client.request(method, f"{self.url}/v1/{path}", **what)
        assert reply.is_success, reply.text
        return reply.json()

    def cli(self, *arguments: str) -> str:
        """Run a command beside the server, on the same corpus; returns what it printed."""
        command = [sys.executable, str(CLI), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.folder, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Served]:
    """Serve the corpus in `folder`, on a free port of this machine unless `options` name one."""
    command = [sys.executable, str(CLI), "serve", "--json", "--port", "0"]
    process = subprocess.Popen(
        [*command, *options], cwd=folder, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, "the server ended before it listened"
        yield Served(json.loads(said)["url"].partition("#")[0].rstrip("/"), folder, process)
    finally:
        process.terminate()
        process.communicate(timeout=30)
