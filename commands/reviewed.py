"""How what raters said comes into a calibration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clipcal.commands.common import command_line

if TYPE_CHECKING:
    from clipcal.index.store import Corpus


def judged_images(corpus: Corpus) -> int:
    """Count the images of which raters say something now."""
    from clipcal.index.judgements import standing

    return len({one.item for one in standing(corpus)})


def export_then_calibrate(corpus: Path, *others: Path) -> str:
    """Write the commands that export all labels, and calibrate with them and with other files."""
    from clipcal.calibrate.labels.pool import SOURCE

    files = [word for name in (Path(SOURCE), *others) for word in ("--labels", str(name))]
    export = command_line("labels", "export", "-o", SOURCE, corpus=corpus)
    return f"{export}, then: {command_line('calibrate', *files, corpus=corpus)}"
