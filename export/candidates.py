"""One model as a bundle of each precision, ready to be compared and put in its place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import tokenizers
import torch

import clipcal
from clipcal.export import parity
from clipcal.export.graph import OPSET, compact_weights
from clipcal.export.int8.quantise import Quantisation, quantise
from clipcal.export.openclip.loading import LoadedModel
from clipcal.export.openclip.modules import TextTower
from clipcal.export.pictures import Pictures, pixels_of
from clipcal.export.towers import write_towers
from clipcal.models.bundle import (
    MANIFEST,
    TEXTUAL,
    TOKENIZER,
    VISUAL,
    Bundle,
    Manifest,
    Precision,
    fingerprint_of,
    sha256_file,
)
from clipcal.models.verification import DecisionRecord, Parity, QuantisationRecord, TowerParity

# What is reached on few pictures is a little less on others, and there the parity must hold.
_AIM = 1 - 0.75 * (1 - parity.MIN_COSINE["int8"])
_TOOLS = ("torch", "open_clip_torch", "timm", "onnx", "onnxscript", "tokenizers")


@dataclass(frozen=True, slots=True)
class Job:
    """What every candidate of one export is made from.

    Attributes
    ----------
    loaded : LoadedModel
        The model, in float32.
    tokenizer : tokenizers.Tokenizer
        The bundle's tokenizer.
    pictures : Pictures
        What to measure on.
    folder : pathlib.Path
        Holds a folder per candidate, named after its precision.
    compact : bool
        Store weights as float16 where that loses nothing.
    licence : str or None
        Licence of the weights.
    say : callable
        Told each step, as one line of text.
    """

    loaded: LoadedModel
    tokenizer: tokenizers.Tokenizer
    pictures: Pictures
    folder: Path
    compact: bool
    licence: str | None
    say: Callable[[str], None]


def make(job: Job, precision: Precision) -> Bundle:
    """Make the bundle of one precision, once, and check it against torch.

    Parameters
    ----------
    job : Job
        What it is made from.
    precision : {"fp32", "fp16", "int8"}
        Of the image tower; in int8 the text tower is that of fp32, whose bundle is made first.

    Returns
    -------
    Bundle
        In its folder below the job's.

    Raises
    ------
    ParityFailure
        If a graph leaves its tolerance.
    BundleError
        If the tower cannot be quantised.
    """
    if (job.folder / precision / MANIFEST).is_file():
        return Bundle.load(job.folder / precision)
    return _int8(job) if precision == "int8" else _in_float(job, precision)


def _in_float(job: Job, precision: Precision) -> Bundle:
    folder = _new_folder(job, precision)
    graphs = write_towers(
        job.loaded,
        folder,
        precision="fp16" if precision == "fp16" else "fp32",
        compact=job.compact,
        say=job.say,
    )
    job.say(f"Measuring parity of {precision} with torch")
    found = Parity(
        visual=_image_parity(job, folder, precision),
        textual=parity.measure_sentences(job.loaded, job.tokenizer, folder / TEXTUAL, precision),
        tolerance=parity.TOLERANCE[precision],
    )
    return _describe(job, precision, found, graphs)


def _int8(job: Job) -> Bundle:
    full, folder = make(job, "fp32"), _new_folder(job, "int8")
    for file in full.path.glob(f"{TEXTUAL}*"):  # its weights too, where they have their own file
        shutil.copy2(file, folder / file.name)
    done = _quantise(job, full.visual, folder / VISUAL)
    job.say("Measuring parity of int8 with torch")
    found = Parity(
        visual=_image_parity(job, folder, "int8"),
        textual=full.manifest.parity.textual,
        tolerance=parity.TOLERANCE["int8"],
    )
    kept = QuantisationRecord(
        layers=done.layers,
        in_float=done.in_float,
        smoothed=done.smoothed,
        min_cosine=done.min_cosine,
        mean_cosine=done.mean_cosine,
        digest=done.digest,
        pictures=job.pictures.ranges_described,
    )
    return _describe(job, "int8", found, full.manifest.graphs, kept)


def _quantise(job: Job, source: Path, target: Path) -> Quantisation:
    job.say(f"Quantising {VISUAL} by {job.pictures.ranges_described}")
    pixels = pixels_of(job.pictures.ranges, job.loaded.preprocessing)
    done = quantise(source, target, pixels, min_cosine=_AIM, say=job.say)
    if job.compact:
        compact_weights(target)
    return done


def _image_parity(job: Job, folder: Path, precision: Precision) -> TowerParity:
    pictures = job.pictures
    return parity.measure_images(
        job.loaded, folder / VISUAL, pictures.measured, pictures.described, precision
    )


def _new_folder(job: Job, precision: Precision) -> Path:
    folder = job.folder / precision
    folder.mkdir()
    job.tokenizer.save(str(folder / TOKENIZER), pretty=False)
    return folder


# --- the manifest -----------------------------------------------------------------------------


def _describe(
    job: Job,
    precision: Precision,
    found: Parity,
    graphs: Mapping[str, str],
    quantisation: QuantisationRecord | None = None,
) -> Bundle:
    loaded, folder = job.loaded, job.folder / precision
    manifest = Manifest(
        name=str(loaded.name),
        dim=_dim(loaded),
        preprocessing=loaded.preprocessing,
        context_length=loaded.context_length,
        logit_scale=loaded.logit_scale,
        logit_bias=loaded.logit_bias,
        precision=precision,
        opset=OPSET,
        architecture=loaded.architecture,
        weights_sha256=loaded.weights_sha256,
        licence=job.licence or loaded.licence,
        parity=found,
        tools={"clipcal": clipcal.__version__, **{tool: version(tool) for tool in _TOOLS}},
        files={file.name: sha256_file(file) for file in sorted(folder.iterdir())},
        graphs=dict(graphs),
        quantisation=quantisation,
        fingerprint="",
    )
    return _write(folder, manifest.model_copy(update={"fingerprint": fingerprint_of(manifest)}))


def note_decisions(bundle: Bundle, record: DecisionRecord) -> Bundle:
    """Keep in a bundle's manifest what was found of its decisions."""
    return _write(bundle.path, bundle.manifest.model_copy(update={"decisions": record}))


def _write(folder: Path, manifest: Manifest) -> Bundle:
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
    return Bundle.load(folder)


@torch.no_grad()
def _dim(loaded: LoadedModel) -> int:
    tokens = torch.zeros((2, loaded.context_length), dtype=torch.long)
    return int(TextTower(loaded)(tokens).shape[1])
