"""Writes ``docs/cli.md`` from the help of every command: ``python docs/make_cli_reference.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click.testing import CliRunner

from clipcal.cli import COMMANDS, app

TARGET = Path(__file__).with_name("cli.md")
HEAD = """# Command line

Made from the commands' own help by `python docs/make_cli_reference.py`; a test holds it true.
Everywhere: `--json` prints one JSON object on standard output and nothing else there; progress and
remarks go to standard error. Exit codes: 0 done, 1 the work failed, 2 the call was wrong.
"""


def reference() -> str:
    """Return the whole page."""
    context = click.Context(app, info_name="clipcal")
    sections = [HEAD]
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None  # COMMANDS names what there is
        sections.append(_section(name))
        leaves = command.commands if isinstance(command, click.Group) else ()
        sections += [_section(name, leaf) for leaf in leaves]
    return "\n".join(sections)


def _section(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], prog_name="clipcal", terminal_width=96)
    return f"## clipcal {' '.join(words)}\n\n```text\n{done.output.rstrip()}\n```\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        sys.stdout.buffer.write(reference().encode())
    else:
        TARGET.write_text(reference(), encoding="utf-8")
