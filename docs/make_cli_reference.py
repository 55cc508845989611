"""Writes ``docs/cli.md`` from the help of every command: ``python docs/make_cli_reference.py``."""

from __future__ import annotations

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
        sections.append(_section(f"clipcal {name}", command))
        leaves = command.commands.values() if isinstance(command, click.Group) else ()
        sections += [_section(f"clipcal {name} {leaf.name}", leaf) for leaf in leaves]
    return "\n".join(sections)


def _section(title: str, command: click.Command) -> str:
    runner = CliRunner(env={"COLUMNS": "100"})
    done = runner.invoke(command, ["--help"], prog_name=title, terminal_width=96)
    return f"## {title}\n\n```text\n{done.output.rstrip()}\n```\n"


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
