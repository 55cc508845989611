"""Where time and memory of embedding go: by stage, by number of cores, by number of images.

Run: ``python benchmarks/stages.py FOLDER``. The stages are measured one by one on one core; the
rest by ``clipcal embed`` in a process of its own, which says its speed and whose greatest
resident memory the system tells.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import runs
from material import Material

from clipcal.commands.common import print_table
from clipcal.index.measure import measure_stages
from clipcal.models.bundle import Bundle
from clipcal.models.measure import cores, encoder_rate
from clipcal.models.session import open_image_encoder

SECTIONS = ("stages", "threads", "memory")
TIMES_THE_IMAGES = (1, 4, 16)


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a process that embedded a folder said, and took.

    Attributes
    ----------
    report : dict
        What ``clipcal embed --json`` printed.
    peak_mib : float
        Its greatest resident memory.
    """

    report: dict[str, Any]
    peak_mib: float


def embed_apart(
    folder: Path, bundle: Bundle, *arguments: str, cpus: Sequence[int] | None = None
) -> Embedded:
    """Run ``clipcal embed`` on a folder in a process of its own, on some cores where named."""
    with tempfile.TemporaryDirectory() as place:
        words = ["embed", str(folder), "--json", "--corpus", str(Path(place) / "corpus")]
        words += ["--model", str(bundle.path), *arguments]
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, *words],
            capture_output=True,
            text=True,
            preexec_fn=None if cpus is None else lambda: os.sched_setaffinity(0, cpus),
        )
    if done.returncode:
        raise SystemExit(f"clipcal embed failed: {done.stderr}")
    report, peak = done.stdout.splitlines()
    said = json.loads(report)
    del said["corpus"]  # a folder of this machine, gone by now
    return Embedded(said, int(peak) / 2**20)


# The greatest memory is asked for within: from outside, the one who forked counts as well.
_CHILD = """
import sys
from clipcal.cli import main
from clipcal.models.measure import peak_memory
try:
    main(sys.argv[1:])
except SystemExit as leave:
    if leave.code:
        raise
print(peak_memory())
"""


def by_stage(bundle: Bundle, files: Sequence[Path], options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of an image on one core by stage, and of the model on one and on all cores."""
    manifest = bundle.manifest
    found = [
        asdict(measure_stages(files, manifest.preprocessing, dim=manifest.dim, seconds=1e9))
        for _ in range(options.repeats)
    ]
    stages = {
        key: {**runs.summary([each[key] for each in found]), "all": [each[key] for each in found]}
        for key in found[0]
        if key != "files"
    }
    for name, threads in (("infer_one_core", 1), ("infer_all_cores", None)):
        encoder = open_image_encoder(bundle, device=options.device, threads=threads)
        rate = encoder_rate(encoder, manifest.preprocessing, seconds=options.seconds)
        times = {"median": rate.median, "low": rate.high, "high": rate.low}
        stages[name] = {key: 1000 / value for key, value in times.items()}
    return {"files": len(files), "milliseconds": stages}


def by_threads(folder: Path, bundle: Bundle, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Images a second end to end on 1, 2, ... cores, in turn round by round."""
    usable = sorted(os.sched_getaffinity(0))
    numbers = range(1, len(usable) + 1) if len(usable) <= 8 else _doubling(len(usable))
    rates: dict[int, list[float]] = {number: [] for number in numbers}
    for _ in range(options.repeats):
        for number, found in rates.items():
            threads = ("--threads", str(number), "--workers", str(number))
            cpus = usable[:number]
            done = embed_apart(folder, bundle, *threads, *_device(options), cpus=cpus)
            found.append(done.report["images_per_second"])
    return [
        {"threads": number, "images_per_second": runs.summary(found), "all": found}
        for number, found in rates.items()
    ]


def _doubling(most: int) -> list[int]:
    numbers = [1]
    while 2 * numbers[-1] < most:
        numbers.append(2 * numbers[-1])
    return [*numbers, most]


def by_images(
    files: Sequence[Path], bundle: Bundle, options: argparse.Namespace, place: Path
) -> list[dict[str, Any]]:
    """Greatest resident memory over the number of images: flat, where nothing is kept."""
    found = []
    for times in TIMES_THE_IMAGES:
        folder = place / f"times-{times}"
        runs.different_copies(files, times * len(files), folder)
        done = embed_apart(folder, bundle, *_device(options))
        count = done.report["embedded"]
        found.append({"images": count, "peak_mib": done.peak_mib, "report": done.report})
    return found


def _device(options: argparse.Namespace) -> tuple[str, str]:
    return "--device", options.device


def show(result: Mapping[str, Any]) -> None:
    """Print a table for each section."""
    if "stages" in result:
        rows = [
            (name, *(f"{found[key]:.2f}" for key in ("median", "low", "high")))
            for name, found in result["stages"]["milliseconds"].items()
        ]
        print_table(("Stage", ">ms an image", ">low", ">high"), rows)
    if "threads" in result:
        base = result["threads"][0]["images_per_second"]["median"]
        rows = [
            (
                str(row["threads"]),
                f"{row['images_per_second']['median']:.1f}",
                f"{row['images_per_second']['low']:.1f}–{row['images_per_second']['high']:.1f}",
                f"{row['images_per_second']['median'] / base:.2f}",
            )
            for row in result["threads"]
        ]
        print_table((">Cores", ">images/s", ">spread", ">× one core"), rows)
    if "memory" in result:
        rows = [(f"{row['images']:,}", f"{row['peak_mib']:,.0f}") for row in result["memory"]]
        print_table((">Images", ">MiB at most"), rows)


def measure(options: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Measure the sections that were asked for."""
    folder = place / "images"
    files = runs.picture_files(options.folder, options.images, folder)
    if options.bundle:
        bundle = Bundle.load(options.bundle)
    else:
        material = Material.of(options.architecture, options.work or place / "work", files)
        bundle = material.bundle(options.precision)
    result: dict[str, Any] = {
        "benchmark": "stages",
        "model": bundle.name,
        "precision": bundle.manifest.precision,
        "cores": cores(),
    }
    if "stages" in options.sections:
        result["stages"] = by_stage(bundle, files, options)
    if "threads" in options.sections:
        result["threads"] = by_threads(folder, bundle, options)
    if "memory" in options.sections:
        result["memory"] = by_images(files, bundle, options, place)
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the call, measure, print the tables."""
    parser = runs.parser(__doc__, images=128, repeats=3)
    parser.add_argument(
        "folder", type=Path, help="images; copies of different content make up the number"
    )
    parser.add_argument("--bundle", type=Path, help="a bundle [one is exported]")
    parser.add_argument("--precision", default="int8", help="of the bundle that is exported")
    parser.add_argument("--device", default="auto", help="as for clipcal embed")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each timing of the model")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    runs.add_model_options(parser)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        result = measure(options, Path(place))
    show(result)
    runs.keep(options.json, options, result)


if __name__ == "__main__":
    main()
