"""An fp32 image tower as int8 that embeds as it does, or an error."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clipcal.errors import BundleError, ParityFailure
from clipcal.export.files import load, save
from clipcal.export.int8.observe import observe
from clipcal.export.int8.rewrite import Plan, rewrite, rounded_output
from clipcal.export.int8.sensitivity import Candidates
from clipcal.export.int8.smoothing import choose_smoothing
from clipcal.export.int8.tower import Tower
from clipcal.models.session import Embeddings, Pixels, cpu_session

FEWEST_PICTURES = 2
# With more products in float the file is hardly faster than fp32.
_MOST_IN_FLOAT = 0.5
# A product by itself takes a file, a session and a run: seconds of a large tower's time.
_MOST_RANKED = 48
_RANKED_ON = 16  # pictures
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Quantisation:
    """What became of a tower.

    Attributes
    ----------
    layers
        Products in int8.
    in_float
        Names of the products left in float for their error, the worst first.
    smoothed
        Activations whose outlier channels were made smaller.
    min_cosine, mean_cosine
        Between embeddings of the fp32 file and of this one, on pictures that nothing was
        measured on.
    digest
        SHA-256 of everything that decides embeddings beyond the source's weights: scales, zero
        points, smoothing, and which products are in float.
    """

    layers: int
    in_float: tuple[str, ...]
    smoothed: int
    min_cosine: float
    mean_cosine: float
    digest: str


def quantise(
    source: Path,
    target: Path,
    pixels: Pixels,
    *,
    min_cosine: float = 0.99,
    say: Callable[[str], None] | None = None,
) -> Quantisation:
    """Write an fp32 image tower as int8.

    Weights become int8 with a scale per output channel, activations uint8 with one measured range
    each, so that a picture's embedding never depends on its batch mates. Outlier channels are
    smoothed (:mod:`clipcal.export.int8.smoothing`), and as many of the products with the greatest
    error stay in float as it takes to reach `min_cosine`.

    Parameters
    ----------
    source : pathlib.Path
        A graph from uint8 pixels (batch, height, width, 3) to float32 embeddings.
    target : pathlib.Path
        The file to write; of more than 2 GB, weights go to ``<target>.data``.
    pixels : numpy.ndarray
        (n, height, width, 3): pictures, preprocessed; every fourth, or the last of fewer, is
        kept back to judge the result on.
    min_cosine : float
        The least cosine between fp32 and int8 that any picture kept back may have.
    say : callable, optional
        Told each step, as one line of text.

    Returns
    -------
    Quantisation
        What was done and how near the result comes. The same input gives the same bytes on the
        same machine.

    Raises
    ------
    BundleError
        If there is nothing to quantise, too few pictures, or the file is no such graph.
    ParityFailure
        If `min_cosine` is not reached with half of the products in float; nothing is written.
    """
    tell = say or (lambda _: None)
    measured, judged = split_pictures(pixels)
    tower = Tower(load(source))
    if not tower.products:
        raise BundleError(
            f"{source} has no matrix product or convolution with a constant weight: there is "
            "nothing to quantise. Export it with --precision fp32"
        )
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        scratch = Path(folder) / target.name
        tell(f"Measuring {len(tower.products)} products on {len(measured)} pictures")
        results = [rounded_output(tower, each) for each in tower.products if each.kind == "Conv"]
        seen = observe(tower, results, measured, scratch)
        search = _Search(
            Candidates.of(tower, seen, choose_smoothing(tower, seen)),
            scratch,
            _Judge.of(source, measured[:: -(-len(measured) // _RANKED_ON)]),
            _Judge.of(source, judged),
            min_cosine,
            tell,
        )
        found = search.run()
        for file in scratch.parent.iterdir():
            file.replace(target.with_name(file.name))
    return found


def split_pictures(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """Return the pictures to measure on and those kept back."""
    if len(pixels) < FEWEST_PICTURES:
        raise BundleError(
            f"int8 needs at least {FEWEST_PICTURES} pictures to measure activations on, there "
            f"are {len(pixels)}. Name a folder of some dozen: --verify IMAGES"
        )
    kept = np.arange(len(pixels)) % 4 == 3
    kept[-1] |= len(pixels) < 4
    return pixels[~kept], pixels[kept]


@dataclass(frozen=True, slots=True, eq=False)
class _Judge:
    """Pictures and what fp32 makes of them."""

    pixels: Pixels
    expected: Embeddings

    @classmethod
    def of(cls, source: Path, pixels: Pixels) -> _Judge:
        return cls(pixels, _embed(source, pixels))

    def cosines(self, file: Path) -> Embeddings:
        return np.asarray((_embed(file, self.pixels) * self.expected).sum(axis=1))


@dataclass(slots=True)
class _Search:
    """Leaves ever more products in float until it suffices, then as few as suffice."""

    candidates: Candidates
    file: Path
    ranked_on: _Judge
    judge: _Judge
    min_cosine: float
    tell: Callable[[str], None]

    def run(self) -> Quantisation:
        """Write the file that is accepted."""
        found = self._attempt(0)
        if found.min_cosine >= self.min_cosine:
            return found
        self.tell("Measuring what each product by itself costs")
        self.candidates = self.candidates.ordered(self._losses())
        failing, count, found = self._double()
        last = count
        while count - failing > 1:
            last = (count + failing) // 2
            halved = self._attempt(last)
            if halved.min_cosine < self.min_cosine:
                failing = last
            else:
                count, found = last, halved
        return found if count == last else self._attempt(count)

    def _double(self) -> tuple[int, int, Quantisation]:
        """Return the last count that failed, and the first that did not."""
        most = int(_MOST_IN_FLOAT * len(self.candidates.products))
        failing, count = 0, min(1, most)
        while (found := self._attempt(count)).min_cosine < self.min_cosine:
            if count == most:
                raise ParityFailure(self._unreachable(found))
            failing, count = count, min(2 * count, most)
        return failing, count, found

    def _attempt(self, count: int) -> Quantisation:
        plan = self.candidates.plan(count)
        digest = self._write(plan)
        cosines = self.judge.cosines(self.file)
        self.tell(f"int8 with {count} products in float: cosine {cosines.min():.4f} at least")
        return Quantisation(
            layers=len(plan.taken),
            in_float=tuple(each.name for each in self.candidates.products[:count]),
            smoothed=len(plan.smoothing),
            min_cosine=float(cosines.min()),
            mean_cosine=float(cosines.mean()),
            digest=digest,
        )

    def _losses(self) -> dict[str, float]:
        """Return the mean loss of cosine by the products that look worst, one at a time."""
        losses = {}
        for product in self.candidates.products[:_MOST_RANKED]:
            self._write(self.candidates.alone(product))
            losses[product.name] = float(1 - self.ranked_on.cosines(self.file).mean())
        return losses

    def _write(self, plan: Plan) -> str:
        model, digest = rewrite(self.candidates.tower, plan)
        save(model, self.file)
        return digest

    def _unreachable(self, found: Quantisation) -> str:
        return (
            f"int8 leaves a cosine of {found.min_cosine:.4f} to fp32 on a picture kept back, with "
            f"{len(found.in_float)} of {len(self.candidates.products)} products in float; "
            f"{self.min_cosine:g} is needed. Measure on more pictures of your kind: --verify "
            "IMAGES, or take --precision fp32"
        )


def _embed(file: Path, pixels: Pixels) -> Embeddings:
    session = cpu_session(file)
    name = session.get_inputs()[0].name
    parts = [pixels[start : start + _BATCH] for start in range(0, len(pixels), _BATCH)]
    return np.concatenate([session.run(None, {name: part})[0] for part in parts])
