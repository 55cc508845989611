"""``clipcal bench``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clipcal.commands.common import device_option, json_option, print_json, print_table, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clipcal.index.advice import Figures
    from clipcal.models.bundle import Bundle
    from clipcal.models.ceiling import Ceiling
    from clipcal.models.measure import RunTime
    from clipcal.models.session import ImageEncoder

SCENES = 32
DEVICES = ("cpu", "openvino", "cuda")  # TensorRT takes minutes to build: only where asked for
BATCH = 8  # images in a run whose products are timed: enough to fill the cores
DEVICES_SHARE, CEILING_SHARE, STAGES_SHARE, WHOLE_SHARE = 0.35, 0.25, 0.1, 0.3


@click.command("bench")
@click.argument(
    "folder",
    required=False,
    metavar="[IMAGES]",
    type=click.Path(exists=True, path_type=Path),
)
@click.option("--model", metavar="BUNDLE", help="The model to time. [default: the built-in one]")
@device_option
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=20.0,
    show_default=True,
    help="About how long to measure; more gives steadier figures.",
)
@json_option
def bench_command(
    folder: Path | None, model: str | None, device: str, seconds: float, as_json: bool
) -> None:
    """Measure what embedding takes on this machine, and say what to change.

    IMAGES is a folder or a file of your own; without it some scenes are drawn. The model is timed
    alone on every run time that is here, beside the matrix products that it is made of (no run
    time can be faster than those), then each stage on one core, then all of it together.

    \b
    Example:
      clipcal bench photos/ --model ViT-B-32::openai
    """
    from clipcal.index.advice import advise
    from clipcal.models.registry import find_bundle

    bundle = find_bundle(model)
    with _pictures(folder, quiet=as_json) as paths:
        figures = _measure(bundle, paths, device, seconds, builtin=model is None, quiet=as_json)
    advice = advise(figures)
    if as_json:
        print_json({**_as_dict(figures), "advice": advice})
    else:
        _show(figures, advice)


@contextmanager
def _pictures(folder: Path | None, *, quiet: bool) -> Iterator[list[Path]]:
    """Give the user's images, or some drawn ones."""
    from clipcal.errors import SourceError
    from clipcal.index.sources import discover

    if folder is not None:
        paths = [Path(file.path) for file in discover([str(folder)]).files]
        if not paths:
            raise SourceError(
                f"There is no image in {folder}. Name a folder: clipcal bench photos/"
            )
        yield paths
        return
    say(
        f"Drawing {SCENES} scenes; for figures of your own images: clipcal bench photos/",
        quiet=quiet,
    )
    with tempfile.TemporaryDirectory() as place:
        yield _drawn(Path(place))


def _drawn(folder: Path) -> list[Path]:
    import numpy as np

    from clipcal.demo.scenes import draw_scene

    paths = [folder / f"scene_{number:03d}.jpg" for number in range(SCENES)]
    for number, path in enumerate(paths):
        draw_scene(np.random.default_rng(number)).image.save(path, quality=90)
    return paths


def _measure(
    bundle: Bundle,
    paths: Sequence[Path],
    device: str,
    seconds: float,
    *,
    builtin: bool,
    quiet: bool,
) -> Figures:
    from clipcal.index.advice import Figures
    from clipcal.index.measure import measure_stages
    from clipcal.models import measure
    from clipcal.models.ceiling import ceilings
    from clipcal.models.runtimes.cores import allowed_cpus
    from clipcal.models.session import open_image_encoder

    encoder = open_image_encoder(bundle, device=device)
    if encoder.note:
        say(encoder.note, quiet=quiet)
    chosen, cores = _device_of(encoder), allowed_cpus()
    preprocessing = bundle.manifest.preprocessing
    say(f"The model alone: {bundle.name}, {bundle.manifest.precision}", quiet=quiet)
    names = DEVICES if device in ("auto", *DEVICES) else (*DEVICES, device)
    run_times = measure.run_times(
        bundle,
        seconds=DEVICES_SHARE * seconds / len(names),
        devices=names,
        opened={chosen: encoder},
    )
    speed = _speed_of(chosen, run_times)
    say("The matrix products alone", quiet=quiet)
    half = bundle.manifest.precision == "fp16"
    shape = measure.profile(bundle.visual, measure.some_pixels(preprocessing, BATCH), half=half)
    found = ceilings(shape.products, seconds=CEILING_SHARE * seconds)
    say(f"The stages, one core, {len(paths):,} files", quiet=quiet)
    stages = measure_stages(
        paths, preprocessing, dim=bundle.manifest.dim, seconds=STAGES_SHARE * seconds
    )
    say("From file to stored embedding", quiet=quiet)
    wanted = int(WHOLE_SHARE * seconds * min(speed, stages.prepared_by(cores)))
    count = _count(paths, max(wanted, *encoder.batch_sizes), quiet=quiet)
    whole = _whole(paths, bundle, encoder, count)
    _, flags = measure.processor()
    return Figures(
        model=bundle.name,
        precision=bundle.manifest.precision,
        builtin=builtin,
        cores=cores,
        flags=flags,
        run_times=tuple(run_times),
        chosen=chosen,
        ceilings=tuple(found),
        batch=BATCH,
        stages=stages,
        whole=whole,
        images=count,
        peak_memory=measure.peak_memory(),
    )


def _device_of(encoder: ImageEncoder) -> str:
    """Name the device that was taken."""
    from clipcal.models.runtimes.choice import PROVIDERS

    return next(name for name, provider in PROVIDERS.items() if provider == encoder.provider)


def _speed_of(device: str, run_times: Sequence[RunTime]) -> float:
    """Return images a second on the device that was taken; it must have run."""
    from clipcal.errors import ProviderError

    found = next(each for each in run_times if each.device == device)
    if found.rate is None:
        raise ProviderError(str(found.missing))
    return found.rate.median


def _count(paths: Sequence[Path], wanted: int, *, quiet: bool) -> int:
    """Return how many images to embed: `wanted`, or as many as may be copied."""
    from clipcal.index.measure import COPIES_BYTES, copies_that_fit

    count = copies_that_fit(paths, wanted, COPIES_BYTES)
    if count < wanted:
        limit = f"{COPIES_BYTES / 2**30:.0f} GiB"
        say(
            f"Embedding {count:,} images, not {wanted:,}: copies in the temporary folder end at "
            f"{limit}.",
            quiet=quiet,
        )
    return count


def _whole(paths: Sequence[Path], bundle: Bundle, encoder: ImageEncoder, count: int) -> float:
    """Embed `count` images, in copies of different content, and return images a second."""
    from clipcal.index.measure import different_copies, measure_whole
    from clipcal.models.measure import some_pixels

    batch = max(encoder.batch_sizes)
    encoder.encode(some_pixels(bundle.manifest.preprocessing, batch))  # the first run allocates
    with tempfile.TemporaryDirectory() as place:
        return measure_whole(different_copies(paths, count, Path(place)), bundle, encoder)


def _as_dict(figures: Figures) -> dict[str, Any]:
    """Write the figures and what follows from them, for programs."""
    return {
        **asdict(figures),
        "ceilings": [each._asdict() for each in figures.ceilings],
        "ceiling_images_per_second": {kind: figures.ceiling(kind) for kind in ("float32", "int8")},
        "share_of_ceiling": figures.share,
    }


def _show(figures: Figures, advice: Sequence[str]) -> None:
    from clipcal.index.measure import WRITTEN_AT_ONCE

    stages = figures.stages
    rows = [
        *((f"model on {each.device}", _speed(each)) for each in figures.run_times),
        *(
            (f"products alone, {each.kind}, {each.library}", _ceiling(each, figures.batch))
            for each in figures.ceilings
        ),
        ("read", f"{stages.read:.2f} ms"),
        ("decode and resize, exactly", f"{stages.decode_exact:.2f} ms a core"),
        ("decode and resize, scaled", f"{stages.decode_scaled:.2f} ms a core"),
        (f"write, {WRITTEN_AT_ONCE} in a commit", f"{stages.write:.2f} ms"),
        (f"file to stored embedding, {figures.chosen}", f"{figures.whole:.1f} images/s"),
    ]
    if figures.share is not None:
        rows.append((f"share of the {figures.kind} products' speed", f"{figures.share:.0%}"))
    if figures.peak_memory is not None:
        rows.append(("memory at most, all of this", f"{figures.peak_memory / 2**20:,.0f} MiB"))
    title = f"{figures.model}, {figures.precision}, {figures.cores} cores, {figures.images} images"
    print_table(("What", ">Measured"), rows, title=title)
    for line in advice:
        click.echo(line)


def _speed(each: RunTime) -> str:
    """Write a rate with its spread, or that it did not run."""
    if each.rate is None:
        return "not here"
    return f"{each.rate.median:.1f} images/s ({each.rate.low:.1f}–{each.rate.high:.1f})"


def _ceiling(each: Ceiling, batch: int) -> str:
    return f"{batch / each.seconds:.1f} images/s ({each.flop_per_second / 1e9:.0f} GFLOP/s)"
