"""A server in a process of its own: what tests of the running service share."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
    """Serve the corpus in `folder` on a free port of this machine."""
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
