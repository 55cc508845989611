"""The command line: finds the subcommand's room, and turns errors into one line.

Every subcommand lives in a module of :mod:`clipcal.commands` that is imported only when it is
called, so that help prints without loading a model's run time.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

import click

from clipcal import __version__
from clipcal.errors import ClipcalError


@dataclass(frozen=True, slots=True)
class Entry:
    """A subcommand: the module that holds it, and the line that the overview shows."""

    module: str
    summary: str


COMMANDS = {
    "demo": Entry("demo", "The main job from nothing, offline, in about a minute."),
    "export": Entry("export", "Make a model bundle (ONNX) from an open_clip model."),
    "embed": Entry("embed", "Embed what is new in folders, files, globs or lists."),
    "failures": Entry("failures", "List the images that could not be embedded, and why."),
    "import-vectors": Entry("interchange", "Take in vectors in clip-retrieval's layout."),
    "export-vectors": Entry("interchange", "Write the vectors in clip-retrieval's layout."),
    "index": Entry("index", "Build or refresh the index of nearest neighbours."),
    "search": Entry("search", "Find images near an image, a sentence or what was flagged."),
    "prompts": Entry("prompts", "List, show and encode prompt sets."),
    "score": Entry("score", "Write every image's score in every category."),
    "calibrate": Entry("calibrate", "Fit a threshold per category to human labels."),
    "suggest": Entry("suggest", "Name images to label next, and keep how likely each was drawn."),
    "labels": Entry("labels", "Bring labels in and out: CSV, Label Studio, COCO, imagefolder."),
    "rescore": Entry("rescore", "Apply a calibration to the whole corpus."),
    "compare": Entry("compare", "Compare people's judgements with predicted ones."),
    "agreement": Entry("agreement", "Tell how far raters agree with each other."),
    "report": Entry("report", "Write one self-contained page about a calibration."),
    "classify": Entry("classify", "Compare images with a few sentences, once."),
    "serve": Entry("serve", "Serve the HTTP API and the page for people to review on."),
    "bench": Entry("bench", "Measure embedding on this machine, and say what to change."),
    "doctor": Entry("doctor", "Say what runs on this machine, and how fast."),
}


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the subcommands in the order of a day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the subcommand called `name`."""
        entry = COMMANDS.get(name)
        if entry is None:
            return None
        module = import_module(f"clipcal.commands.{entry.module}")
        command: click.Command = getattr(module, f"{name.replace('-', '_')}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands from their entries, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; an unknown one is answered with those that look like it."""
        import difflib

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else " See: clipcal --help"
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="clipcal")
def app() -> None:
    """Embed images with CLIP, and fit thresholds to human labels that can be defended.

    \b
    A normal day:
      clipcal embed photos/
      clipcal calibrate --labels human.csv --prompts moderation
      clipcal rescore -o decisions.csv
      clipcal search --flagged Violence
      clipcal report -o report.html
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process: 0 done, 1 the work failed, 2 a wrong call."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack a letter of a file's name
            stream.reconfigure(errors="backslashreplace")
    try:
        app.main(args=arguments, prog_name="clipcal", standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("Interrupted. The same command goes on from here.", file=sys.stderr)
        sys.exit(1)
    except ClipcalError as error:
        print(f"Error: {_printable(str(error))}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        print(f"Error: {_printable(str(error))}", file=sys.stderr)
        sys.exit(1)


def _printable(text: str) -> str:
    """Keep a message on one line and printable, whatever a file is called."""
    line = " ".join(text.split())
    return line.encode(errors="backslashreplace").decode()


if __name__ == "__main__":
    main()
