"""What the benchmarks share: interleaved runs, what is said of them, the machine, the files."""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from clipcal.commands.common import print_table
from clipcal.index.measure import different_copies
from clipcal.index.sources import discover
from clipcal.models.measure import cores, processor

PACKAGES = (
    *("clipcal", "numpy", "pillow", "onnxruntime-gpu", "onnxruntime", "openvino"),
    *("torch", "torchvision", "open_clip_torch", "fastembed", "faiss-cpu"),
)
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that is timed.

    Attributes
    ----------
    name : str
        For tables and plots.
    work : callable
        Does it once.
    """

    name: str
    work: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """What a contender took, run by run.

    Attributes
    ----------
    name : str
        Of the contender.
    images : int
        In a run.
    seconds : tuple of float
        Of every run, in order.
    """

    name: str
    images: int
    seconds: tuple[float, ...]

    @property
    def rates(self) -> list[float]:
        """Images a second, run by run."""
        return [self.images / each for each in self.seconds]


def interleaved(
    contenders: Sequence[Contender], images: int, repeats: int, *, warm: bool = True
) -> list[Timing]:
    """Time every contender once, then every one again, and so on.

    Whatever slows the machine for a while slows all of them, and the order turns by one place a
    round, so that none always comes after the same other.

    Parameters
    ----------
    contenders : sequence of Contender
        What is timed.
    images : int
        That each takes in a run.
    repeats : int
        Rounds that count.
    warm : bool
        Whether a round that does not count comes first.

    Returns
    -------
    list of Timing
        In the order of `contenders`.
    """
    seconds: dict[str, list[float]] = {each.name: [] for each in contenders}
    if warm:
        for each in contenders:
            each.work()
    for number in range(repeats):
        turn = number % max(1, len(contenders))
        for each in (*contenders[turn:], *contenders[:turn]):
            seconds[each.name].append(_timed(each.work))
    return [Timing(each.name, images, tuple(seconds[each.name])) for each in contenders]


def _timed(work: Callable[[], object]) -> float:
    gc.collect()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and greatest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratios(timing: Timing, base: Timing) -> dict[str, Any]:
    """How many times as fast `timing` is as `base`: round by round, so that both saw one machine.

    Parameters
    ----------
    timing, base : Timing
        Of one call of :func:`interleaved`.

    Returns
    -------
    dict
        Median, low, high and all of them.
    """
    each = [b / t for t, b in zip(timing.seconds, base.seconds, strict=True)]
    return {**summary(each), "all": each}


def against(timings: Sequence[Timing], base: str) -> list[dict[str, Any]]:
    """Put timings into JSON: rates with their spread, and the ratio to the contender `base`.

    Parameters
    ----------
    timings : sequence of Timing
        Of one call of :func:`interleaved`.
    base : str
        Name of the contender that others are compared with.

    Returns
    -------
    list of dict
        ``name``, ``images``, ``seconds`` (all), ``images_per_second`` and ``times_as_fast``, each
        with median, low and high.
    """
    compared = next(each for each in timings if each.name == base)
    return [
        {
            "name": each.name,
            "images": each.images,
            "seconds": list(each.seconds),
            "images_per_second": summary(each.rates),
            "times_as_fast": ratios(each, compared),
        }
        for each in timings
    ]


def show_against(rows: Sequence[Mapping[str, Any]], base: str, title: str) -> None:
    """Print what :func:`against` returns."""
    print_table(
        ("Contender", ">images/s", ">spread", f">× {base}", ">spread"),
        [
            (
                str(row["name"]),
                *_median_and_spread(row["images_per_second"], 1),
                *_median_and_spread(row["times_as_fast"], 2),
            )
            for row in rows
        ],
        title=title,
    )


def _median_and_spread(found: Mapping[str, float], digits: int) -> tuple[str, str]:
    low, high = (f"{found[key]:.{digits}f}" for key in ("low", "high"))
    return f"{found['median']:.{digits}f}", f"{low}–{high}"


# --- the call, the machine, the files ---------------------------------------------------------


def parser(description: str, *, images: int, repeats: int = 5) -> argparse.ArgumentParser:
    """Return a parser with what every benchmark takes."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--repeats", type=int, default=repeats, help="rounds that count")
    made.add_argument("--images", type=int, default=images, help="images in a run")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all values here")
    return made


def add_model_options(made: argparse.ArgumentParser) -> None:
    """Add which model is compared, and where what is made of it is kept."""
    made.add_argument("--architecture", default="ViT-B-32-quickgelu", help="open_clip's name")
    made.add_argument(
        "--work",
        type=Path,
        help="keep exported models here, for the next run of the same code [a folder that goes]",
    )


def picture_files(folder: Path, count: int, place: Path) -> list[Path]:
    """Return `count` files of different content that show the pictures of `folder`."""
    found = [Path(file.path) for file in discover([str(folder)]).files]
    if not found:
        raise SystemExit(f"There is no image in {folder}.")
    return different_copies(found, count, place)


def machine() -> dict[str, Any]:
    """Say what this was measured on, with which versions, and when."""
    name, flags = processor()
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": name,
        "flags": list(flags),
        "cores": cores(),
        "memory_gib": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _memory() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def keep(file: Path | None, options: argparse.Namespace, result: Mapping[str, Any]) -> None:
    """Write a result with the machine and the call, where a file was named."""
    if file is None:
        return
    call = {key: value for key, value in vars(options).items() if key not in ("json", "work")}
    content = {"machine": machine(), "call": call, **result}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1, default=_plain) + "\n", "utf-8")


def _plain(value: object) -> object:
    """Write a path by its name alone: results are shared, folders are not."""
    return value.name if isinstance(value, Path) else value
