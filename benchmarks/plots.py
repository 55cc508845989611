"""Draws the results: ``python benchmarks/plots.py`` makes an SVG file beside each JSON file.

Every figure is a row of bars from zero with its spread as a whisker: ratios and shares are then
lengths, and two bars can be compared with a ruler.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

RESULTS = Path(__file__).resolve().parent / "results"
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 880, 330, 140, 76, 34
_OURS, _OTHERS, _CEILING = "#1b62a5", "#b8500b", "#8a8a8a"
_INK, _GRID = "#222222", "#d9d9d9"
_TICKS = 5
_BAR = 18

Result = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a figure.

    Attributes
    ----------
    name : str
        What was measured.
    value, low, high : float
        The median, and the least and greatest.
    words : str
        What stands behind the bar.
    colour : str
        Blue is clipcal, brown are others, grey is the ceiling.
    """

    name: str
    value: float
    low: float
    high: float
    words: str
    colour: str = _OURS


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of bars from zero.

    Attributes
    ----------
    name : str
        Of the file, without its ending.
    title, axis : str
        What stands above and below.
    bars : tuple of Bar
        From top to bottom.
    """

    name: str
    title: str
    axis: str
    bars: tuple[Bar, ...]


# --- from results to figures ------------------------------------------------------------------


def embedding(result: Result) -> Iterable[Figure]:
    """Draw how many times as fast as the base each contender is, from file to stored embedding."""
    call = result["call"]
    yield Figure(
        "embedding",
        f"{call['architecture']}, JPEG files to stored embeddings",
        f"times as fast as {result['base']}",
        tuple(_against(row) for row in result["contenders"]),
    )


def _against(row: Result) -> Bar:
    found, rate = row["times_as_fast"], row["images_per_second"]["median"]
    words = f"{found['median']:.2f}  ({rate:.1f}/s)"
    low, high = found["low"], found["high"]
    return Bar(row["name"], found["median"], low, high, words, _colour(row["name"]))


def _colour(name: str) -> str:
    return _OURS if name.startswith("clipcal") else _OTHERS


def model(result: Result) -> Iterable[Figure]:
    """Draw the model alone as images a second, with its share of the matrix products' speed."""
    for part in result["batches"]:
        bars = []
        for row in part["contenders"]:
            rate, share = row["images_per_second"], row["share_of_ceiling"]
            words = f"{rate['median']:.1f}  ({share:.0%})"
            low, high, colour = rate["low"], rate["high"], _colour(row["name"])
            bars.append(Bar(row["name"], rate["median"], low, high, words, colour))
        highest: dict[str, float] = {}
        for each in part["ceilings"]:
            kind, rate = each["kind"], each["images_per_second"]
            highest[kind] = max(rate, highest.get(kind, 0.0))
        for kind, rate in highest.items():
            bars.append(Bar(f"products alone, {kind}", rate, rate, rate, f"{rate:.1f}", _CEILING))
        yield Figure(
            f"model-batch-{part['batch']}",
            f"{result['call']['architecture']} alone, batch {part['batch']}",
            "images/s (share of what its matrix products allow)",
            tuple(bars),
        )


def stages(result: Result) -> Iterable[Figure]:
    """Draw milliseconds by stage, images a second by cores, and memory by images."""
    model_name = f"{result['model']}, {result['precision']}"
    if "stages" in result:
        found = result["stages"]["milliseconds"]
        bars = tuple(_spread(name.replace("_", " "), each, 2) for name, each in found.items())
        yield Figure("stages", f"{model_name}: an image, stage by stage", "milliseconds", bars)
    if "threads" in result:
        bars = tuple(
            _spread(_counted(row["threads"], "core"), row["images_per_second"], 1)
            for row in result["threads"]
        )
        yield Figure("threads", f"{model_name}: files to embeddings", "images/s", bars)
    if "memory" in result:
        bars = tuple(
            Bar(f"{row['images']:,} images", peak, peak, peak, f"{peak:,.0f}")
            for row in result["memory"]
            for peak in [row["peak_mib"]]
        )
        yield Figure("memory", f"{model_name}: memory of embedding", "MiB at most", bars)


def gpu(result: Result) -> Iterable[Figure]:
    """Draw how many times as fast as clip-retrieval's path each contender is on a GPU."""
    yield Figure(
        "gpu",
        f"{result['call']['architecture']}, JPEG files to stored embeddings, {result['gpu']}",
        f"times as fast as {result['base']}",
        tuple(_against(row) for row in result["contenders"]),
    )


def rescoring(result: Result) -> Iterable[Figure]:
    """Draw scoring and neighbours as milliseconds, approximate indexes with their recall."""
    call = result["call"]
    size = f"{call['rows']:,} × {call['dim']}"
    titles = {
        "scoring": f"{size}, {call['prompts']} prompts",
        "neighbours": f"{size}, neighbours",
    }
    for section, title in titles.items():
        bars = tuple(_milliseconds(name, each) for name, each in result[section].items())
        yield Figure(section, title, "milliseconds", bars)
    if result["approximate"]:
        exact = _milliseconds("exact", result["neighbours"]["exact"])
        bars = (exact, *(_index(kind, each) for kind, each in result["approximate"].items()))
        axis = "milliseconds a query (recall of the ten nearest)"
        yield Figure("indexes", f"{size}: one query", axis, bars)


def _milliseconds(name: str, found: Result) -> Bar:
    median, low, high = (1000 * found[key] for key in ("median", "low", "high"))
    colour = _OTHERS if name == "plain_numpy" else _OURS
    return Bar(name.replace("_", " "), median, low, high, f"{median:.3g}", colour)


def _index(kind: str, found: Result) -> Bar:
    median, high = 1000 * found["p50_s"], 1000 * found["p95_s"]
    words = f"{median:.2g}  ({found['recall_at_10']:.3f})"
    return Bar(kind, median, median, high, words)


def _spread(name: str, found: Result, digits: int) -> Bar:
    words = f"{found['median']:.{digits}f}"
    return Bar(name, found["median"], found["low"], found["high"], words)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


FIGURES: dict[str, Callable[[Result], Iterable[Figure]]] = {
    "embedding": embedding,
    "model": model,
    "stages": stages,
    "gpu": gpu,
    "rescoring": rescoring,
}


# --- from figures to SVG ----------------------------------------------------------------------


def draw(figure: Figure, machine: Result) -> str:
    """Draw a figure as an SVG file; below its title stand the machine and the date."""
    most = max((bar.high for bar in figure.bars), default=1.0) or 1.0
    bottom = _TOP + _ROW * len(figure.bars)
    where = f"{machine['processor']}, {_counted(machine['cores'], 'core')}, {machine['date']}"
    parts = [_text(16, 28, figure.title, size=18), _text(16, 50, where, size=13)]
    parts += _axis(most, bottom)
    for number, bar in enumerate(figure.bars):
        parts += _bar(bar, _TOP + _ROW * (number + 0.5), most)
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(_text(middle, bottom + 50, figure.axis, "middle"))
    body = "\n".join(f"  {part}" for part in parts)
    size = f'viewBox="0 0 {_WIDTH} {bottom + 64}" font-family="Helvetica, Arial, sans-serif"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="15" fill="{_INK}" role="img">\n'
        f"  <title>{escape(figure.title)}</title>\n"
        f'  <rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _x(value: float, most: float) -> float:
    return round(_LEFT + value / most * (_WIDTH - _LEFT - _RIGHT), 1)


def _axis(most: float, bottom: float) -> Iterable[str]:
    step = _round_step(most / _TICKS)
    for number in range(math.floor(most / step) + 1):
        x = _x(number * step, most)
        yield _line(x, _TOP, x, bottom, _GRID, 1)
        yield _text(x, bottom + 22, f"{number * step:g}", "middle", size=13)


def _round_step(least: float) -> float:
    """Return the next of 1, 2, 5, 10, 20 ... at or above `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * each for each in (1, 2, 5, 10) if power * each >= least * 0.999)


def _bar(bar: Bar, middle: float, most: float) -> Iterable[str]:
    left, end = _LEFT, _x(bar.value, most)
    yield _text(left - 10, middle + 5, bar.name, "end")
    width = round(max(end - left, 0.5), 1)
    yield (
        f'<rect x="{left}" y="{middle - _BAR / 2:g}" width="{width:g}" height="{_BAR}" '
        f'fill="{bar.colour}"/>'
    )
    low, high = _x(bar.low, most), _x(bar.high, most)
    if high > low:
        yield _line(low, middle, high, middle, _INK, 2)
    yield _text(max(high, end) + 8, middle + 5, bar.words)


def _text(x: float, y: float, words: str, anchor: str = "start", *, size: int = 15) -> str:
    place = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}"'
    return f"<text {place}>{escape(words)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int) -> str:
    ends = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}"/>'


def figures(result: Result) -> Iterable[Figure]:
    """Return what there is to draw of a result; nothing of an unknown one."""
    drawn = FIGURES.get(result.get("benchmark", ""))
    return drawn(result) if drawn else ()


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw every result that there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    for file in sorted(options.results.glob("*.json")):
        result = json.loads(file.read_text("utf-8"))
        for figure in figures(result):
            target = options.results / f"{figure.name}.svg"
            target.write_text(draw(figure, result["machine"]), "utf-8")
            print(f"{file.name} → {target.name}")


if __name__ == "__main__":
    main()
