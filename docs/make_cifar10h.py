"""Writes ``docs/cifar10h.md`` and its figure: ``python docs/make_cifar10h.py FOLDER``.

A study of real images and real raters: what a calibration promises, and whether it is kept when
other images are labelled. Everything is fitted by the functions that fit users' thresholds; here
is only what draws the labels, counts, and puts it down.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.cuts.calibration import Evaluating, calibrate
from clipcal.calibrate.cuts.sample import Sample
from clipcal.calibrate.cuts.targets import Goal, parse_bands, parse_target
from clipcal.calibrate.decisions.columns import BANDS, band_codes
from clipcal.calibrate.labels.table import read_labels
from clipcal.calibrate.material import Material, gather_material
from clipcal.calibrate.plan import CalibrationPlan
from clipcal.calibrate.records import Cut
from clipcal.calibrate.scoring.scores import decide
from clipcal.calibrate.scoring.under_contract import TextSource
from clipcal.calibrate.statistics.agreement.kappa import pair_agreement, weighted_kappa
from clipcal.calibrate.statistics.agreement.many_raters import human_ceiling
from clipcal.calibrate.statistics.auc import auc_estimate
from clipcal.calibrate.statistics.bounds import (
    Estimate,
    Range,
    clopper_pearson,
    positives_needed,
    recall_rank,
)
from clipcal.calibrate.statistics.objectives import (
    sample_precision_threshold,
    sample_recall_threshold,
)
from clipcal.calibrate.statistics.rounding import stored
from clipcal.calibrate.workflow import calibrate_corpus
from clipcal.index.interchange import import_vectors, read_dim
from clipcal.index.store import Corpus
from clipcal.models.identity import ModelIdentity
from clipcal.prompts.promptset import load_prompt_set

HERE = Path(__file__).resolve().parent
MODEL = "ViT-B-32::openai"
# The text vectors are those of a list of names that has no ship: a boat stands in.
SENTENCES = {
    "airplane": "a Airplane",
    "automobile": "a Car",
    "bird": "a Bird",
    "cat": "a Cat",
    "deer": "a Deer",
    "dog": "a Dog",
    "frog": "a Frog",
    "horse": "a Horse",
    "ship": "a Boat",
    "truck": "a Truck",
}
CLASSES = tuple(SENTENCES)
SPLITS = 200
ALONE = Evaluating(draws=0, folds=0)  # a fit and nothing else
_NEVER = 1e-12
_ROUNDING = 1e-9  # 40 of 50 is a recall of 0.8, whatever the last bit says

Rates = NDArray[np.float64]  # (draws, classes), NaN where undefined
Marks = NDArray[np.bool_]
Counts = NDArray[np.int64]
Rows = list[list[str]]


# --- the data ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The images with their scores and labels, and what a whole calibration says of them.

    Attributes
    ----------
    material : Material
        Scores and labels.
    contract : Contract
        Best F1, fitted to all labels, cross-fitted.
    truth : Int64[(n,)]
        The data set's own classes, in the order of the sample.
    """

    material: Material
    contract: Contract
    truth: NDArray[np.int64]

    @property
    def sample(self) -> Sample:
        """All labelled images: the population that labels are drawn from."""
        return self.material.sample

    @property
    def positive(self) -> Marks:
        """Bool[(n, c)], by the raters' majority."""
        return np.asarray(self.sample.values > 0, np.bool_)

    @property
    def tally(self) -> NDArray[np.int64]:
        """Int64[(n, c)], how many raters chose which class."""
        table = self.material.table
        assert table.votes is not None  # counts of raters are votes
        order = np.argsort(self.material.match.rows)  # the sample is in the corpus's order
        counts = [
            table.votes.tally(table.categories.index(name), len(table.images), 2)[order, 1]
            for name in CLASSES
        ]
        return np.stack(counts, axis=1)


def read(folder: Path, work: Path, seed: int) -> Data:
    """Import the embeddings into a corpus in `work`, and calibrate it to the raters' labels."""
    sentences, labels = work / "classes.json", folder / "rater_counts.csv"
    sentences.write_text(json.dumps({name: [text] for name, text in SENTENCES.items()}))
    identity = ModelIdentity.external(MODEL, read_dim(folder))
    import_vectors(folder, work / "corpus", identity)
    source, plan = TextSource(folder / "text_vectors.npz"), CalibrationPlan(target="f1", seed=seed)
    corpus = Corpus.open(work / "corpus")
    try:
        fitted = calibrate_corpus(corpus, labels, prompts=str(sentences), source=source, plan=plan)
        prompt_set = load_prompt_set(str(sentences))
        table = read_labels(labels, categories=CLASSES)
        material = gather_material(corpus, prompt_set, table, source, plan, str(labels))
        uris = [material.scored.uris[place] for place in material.sample.places]
    finally:
        corpus.close()
    with (folder / "truth.csv").open(encoding="utf-8", newline="") as stream:
        classes = {row["image"]: CLASSES.index(row["label"]) for row in csv.DictReader(stream)}
    return Data(material, fitted.contract, np.array([classes[uri] for uri in uris]))


# --- draws of labels --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Draw:
    """How some of the images come to be labelled.

    Attributes
    ----------
    name : str
        For tables.
    images : int
        How many.
    again : bool
        Whether an image may be drawn again: then the images stand for a corpus that is much
        larger than the labels.
    """

    name: str
    images: int
    again: bool = False

    def rows(self, population: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw the images to label."""
        if self.again:
            return rng.integers(0, population, self.images)
        return rng.permutation(population)[: self.images]

    def positives(self, population: int, positives: int) -> Rates:
        """Return how likely 0, 1, 2 ... labelled positives are."""
        numbers = np.arange(self.images + 1)
        if self.again:
            return np.asarray(stats.binom.pmf(numbers, self.images, positives / population))
        return np.asarray(stats.hypergeom.pmf(numbers, population, positives, self.images))

    def at_most(self, few: Counts, positives: int, lowest: int, labelled: Counts) -> Rates:
        """Return how likely at most `few` of the labelled positives are among the `lowest`."""
        if self.again:
            return np.asarray(stats.binom.cdf(few, labelled, lowest / positives))
        return np.asarray(stats.hypergeom.cdf(few, positives, lowest, labelled))


HALF = Draw("250 of 500", 250)
MOST = Draw("350 of 500", 350)
HALF_AGAIN = Draw("250, with replacement", 250, again=True)
ALL_AGAIN = Draw("500, with replacement", 500, again=True)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of a goal over many draws of labels.

    Attributes
    ----------
    draw : Draw
        How labels were drawn.
    goal : Goal
        What was asked for.
    certified : Bool[(s, c)]
        Where it was guaranteed.
    attained, naive : Float64[(s, c)]
        The rate that was asked for, recall or precision, in the whole population: at the
        calibrated threshold, and at the one that only attains it in the sample.
    held_out, naive_out : Float64[(s, c)]
        The same on the images that were not drawn; NaN where there is nothing to divide by.
    """

    draw: Draw
    goal: Goal
    certified: Marks
    attained: Rates
    naive: Rates
    held_out: Rates
    naive_out: Rates

    @property
    def rate(self) -> float:
        """What was asked for."""
        return self.goal.target.rate

    @property
    def broken(self) -> Marks:
        """Where a guarantee was given and does not hold in the population."""
        return self.certified & (self.attained < self.rate - _ROUNDING)

    @property
    def naive_broken(self) -> Marks:
        """Where the threshold of the sample does not attain it in the population."""
        return np.asarray(self.naive < self.rate - _ROUNDING, np.bool_)


def try_out(data: Data, goal: Goal, draw: Draw, splits: int, seed: int) -> Outcome:
    """Fit to many draws of labels, and look at all images each time."""
    once = [
        _once(data, goal, draw, rng)
        for rng in map(np.random.default_rng, np.random.SeedSequence(seed).spawn(splits))
    ]
    certified, *rates = (np.stack(part) for part in zip(*once, strict=True))
    return Outcome(draw, goal, certified.astype(np.bool_), *rates)


def _once(
    data: Data, goal: Goal, draw: Draw, rng: np.random.Generator
) -> tuple[NDArray[np.generic], ...]:
    everything, rows = data.sample, draw.rows(len(data.sample), rng)
    drawn, out = everything[rows], np.ones(len(everything), np.bool_)
    out[rows] = False
    cuts = fit(data, drawn, goal)
    ours = np.array([_or_nan(cut.threshold) for cut in cuts])
    naive = np.array([_or_nan(naive_threshold(drawn, goal, c)) for c in range(len(CLASSES))])
    return (
        np.array([cut.status == "certified" for cut in cuts]),
        *(
            rates(everything[some], goal, thresholds)
            for some in (np.ones_like(out), out)
            for thresholds in (ours, naive)
        ),
    )


def fit(data: Data, drawn: Sample, goal: Goal) -> list[Cut]:
    """Fit a cut per class to some of the labels."""
    scored, levels = data.material.scored, data.material.table.levels
    done = calibrate(drawn, goal, scored.scores, CLASSES, levels, evaluating=ALONE)
    return [done.cuts[name][levels[1]] for name in CLASSES]


def naive_threshold(drawn: Sample, goal: Goal, column: int) -> float | None:
    """Return the threshold that just attains the target in the sample."""
    cut, rate = drawn.of(column, 1), goal.target.rate
    if goal.target.kind == "precision":
        found = sample_precision_threshold(cut.scores, cut.positive, rate)
    else:
        found = sample_recall_threshold(cut.scores[cut.positive], rate)
    return None if found is None else stored(found)


def rates(images: Sample, goal: Goal, thresholds: Rates) -> Rates:
    """Count recall or precision per class, (c,), on some images."""
    found = np.full(len(CLASSES), np.nan)
    for column in np.flatnonzero(~np.isnan(thresholds)):
        cut = images.of(int(column), 1)
        flags = decide(cut.scores, thresholds[column])
        among = flags if goal.target.kind == "precision" else cut.positive
        if among.any():
            found[column] = np.mean((flags & cut.positive)[among])
    return found


def chance(data: Data, outcome: Outcome, *, naive: bool = False) -> Rates:
    """Compute per class how likely a threshold is given, and its recall too low: Float64[(2, c)].

    A threshold is the k-th lowest labelled positive, and k depends on their number alone. Recall
    is too low where more than the allowed number of positives lie below it, that is, where fewer
    than k of so many lowest ones were drawn. That is a sum of probabilities; nothing is simulated.
    """
    found = []
    for positives in data.positive.sum(axis=0).tolist():
        lowest = math.floor(positives * (1 - outcome.rate) + _ROUNDING) + 1
        likely = outcome.draw.positives(len(data.sample), positives)
        labelled = np.flatnonzero(likely > _NEVER)
        rank = np.array([_rank(outcome, number, naive=naive) for number in labelled.tolist()])
        too_few = outcome.draw.at_most(rank - 1, positives, lowest, labelled)
        found.append((likely[labelled][rank > 0].sum(), likely[labelled] @ too_few))
    return np.array(found).T


def _rank(outcome: Outcome, labelled: int, *, naive: bool) -> int:
    """Return which labelled positive is the threshold, from 1; 0 where there is none."""
    if naive:
        return math.floor(labelled * (1 - outcome.rate) + _ROUNDING) + 1 if labelled else 0
    return recall_rank(labelled, outcome.rate, outcome.goal.confidence)


@dataclass(frozen=True, slots=True, eq=False)
class Banded:
    """Three bands over many draws of labels.

    Attributes
    ----------
    draw : Draw
        How labels were drawn.
    goal : Goal
        What was asked for.
    lower, upper : Bool[(s, c)]
        Where recall, and where precision, was guaranteed.
    shares : Float64[(s, c, 3)]
        Of all images that are allowed, reviewed, blocked.
    missed, wrong : Float64[(s, c)]
        Share of the positives that are allowed; share of the blocked that are negative, NaN
        where nothing is blocked.
    """

    draw: Draw
    goal: Goal
    lower: Marks
    upper: Marks
    shares: Rates
    missed: Rates
    wrong: Rates


def try_bands(data: Data, goal: Goal, draw: Draw, splits: int, seed: int) -> Banded:
    """Fit bands to many draws of labels, and sort all images into them each time."""
    parts: list[list[tuple[bool, bool, Rates, float, float]]] = []
    for rng in map(np.random.default_rng, np.random.SeedSequence(seed).spawn(splits)):
        cuts = fit(data, data.sample[draw.rows(len(data.sample), rng)], goal)
        parts.append([_banded(data, cut, column) for column, cut in enumerate(cuts)])
    lower, upper, shares, missed, wrong = (
        np.array([[one[number] for one in once] for once in parts]) for number in range(5)
    )
    return Banded(draw, goal, lower, upper, shares, missed, wrong)


def _banded(data: Data, cut: Cut, column: int) -> tuple[bool, bool, Rates, float, float]:
    codes = band_codes(data.sample.scores[:, column], cut)
    positive = data.positive[:, column]
    shares = np.bincount(codes, minlength=len(BANDS)) / len(codes)
    blocked = codes == BANDS.index("block")
    wrong = float(np.mean(~positive[blocked])) if blocked.any() else math.nan
    missed = float(np.mean(codes[positive] == BANDS.index("allow")))
    upper = cut.bands is not None and cut.bands.status == "certified"
    return cut.status == "certified", upper, shares, missed, wrong


def macro_f1(data: Data, splits: int, seed: int) -> Rates:
    """Fit best F1 to half of the images; return the macro F1 of the other halves, (s,)."""
    goal, levels = Goal(parse_target("f1")), data.material.table.levels
    found = []
    for number in range(splits):
        held = Evaluating(holdout=0.5, draws=0, folds=0, seed=seed + number)
        scores = data.material.scored.scores
        done = calibrate(data.sample, goal, scores, CLASSES, levels, evaluating=held)
        assert done.holdout is not None  # half was kept out
        found.append(done.holdout.macro_f1)
    return np.array(found, np.float64)


def _or_nan(threshold: float | None) -> float:
    return math.nan if threshold is None else threshold


# --- the study --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Study:
    """All that the page tells.

    Attributes
    ----------
    data : Data
        Images, scores, labels.
    splits, seed : int
        How many draws of labels, and from where.
    macro : Float64[(s,)]
        Macro F1 on the other half.
    recall, precision, joint : tuple of Outcome
        Goals one class at a time, and for all classes together.
    bands : tuple of Banded
        Three bands.
    seconds : float
        What it took.
    """

    data: Data
    splits: int
    seed: int
    macro: Rates
    recall: tuple[Outcome, ...]
    precision: tuple[Outcome, ...]
    joint: tuple[Outcome, ...]
    bands: tuple[Banded, ...]
    seconds: float

    @cached_property
    def shown(self) -> Outcome:
        """The outcome in the figure."""
        return self.recall[0]


def study(folder: Path, splits: int = SPLITS, seed: int = 0) -> Study:
    """Make the whole study.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``img_emb/``, ``metadata/``, ``rater_counts.csv``, ``truth.csv`` and
        ``text_vectors.npz``.
    splits : int
        How many draws of labels for each goal.
    seed : int
        Of all draws.

    Returns
    -------
    Study
        For `page` and `figure`.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        data = read(folder, Path(work), seed)

    def tried(target: str, draw: Draw, *, joint: bool = False) -> Outcome:
        return try_out(data, Goal(parse_target(target), joint=joint), draw, splits, seed)

    recall = (
        *(tried(f"recall={rate}", HALF) for rate in (0.8, 0.85, 0.9)),
        *(tried(f"recall={rate}", MOST) for rate in (0.8, 0.9)),
        tried("recall=0.8", HALF_AGAIN),
        *(tried(f"recall={rate}", ALL_AGAIN) for rate in (0.8, 0.9)),
    )
    precision = (
        *(tried(f"precision={rate}", HALF) for rate in (0.6, 0.7, 0.8)),
        tried("precision=0.8", ALL_AGAIN),
    )
    joint = tuple(tried("recall=0.8", draw, joint=True) for draw in (HALF, MOST, ALL_AGAIN))
    lower, upper = parse_bands("recall=0.8,precision=0.8")
    bands = tuple(
        try_bands(data, Goal(lower, block=upper), draw, splits, seed) for draw in (HALF, ALL_AGAIN)
    )
    macro = macro_f1(data, splits, seed)
    seconds = time.perf_counter() - started
    return Study(data, splits, seed, macro, recall, precision, joint, bands, seconds)


# --- the page ---------------------------------------------------------------------------------


def page(made: Study) -> str:
    """Return the whole page."""
    sections = (_data, _thresholds, _people, _held_out, _population, _others, _again)
    return (
        "\n\n".join(["# What a calibration promises, and keeps", *_blocks(made, sections)]) + "\n"
    )


def _blocks(made: Study, sections: Iterable[Callable[[Study], Iterator[str]]]) -> Iterator[str]:
    for section in sections:
        yield from section(made)


def _data(made: Study) -> Iterator[str]:
    votes = made.data.tally.sum(axis=1)
    alone = len(np.unique(made.data.sample.clusters)) == len(made.data.sample)
    numbers = made.data.positive.sum(axis=0)
    yield prose(f"""
        Thresholds of ten classes, fitted to what people said of {len(made.data.sample)} real
        images; and then, over {made.splits} draws of the labels, how often each promise holds.
        Every result on this page is computed by one command (at the end).""")
    yield "## The data, and what is fitted"
    yield prose(f"""
        The images are the first {len(made.data.sample)} of the CIFAR-10 test set, photographs of
        32×32 pixels, with the embeddings that OpenAI's CLIP ViT-B/32 gives of them; each was put
        into one of ten classes by {votes.min()} to {votes.max()} raters (CIFAR-10H), of whom only
        the counts per class are known. The label of an image is the majority of its raters: of
        every class {numbers.min()} to {numbers.max()} images are positive, and all others
        negative.{" No two images are near copies." if alone else ""}""")
    yield prose("""
        The score of an image in a class is the cosine of its embedding with the embedding of one
        sentence ("a Cat"; "a Car" for automobile, "a Boat" for ship). What is fitted is one
        threshold per class: an image that scores at or above it is flagged. An image may be
        flagged in several classes, or in none.""")


def _thresholds(made: Study) -> Iterator[str]:
    yield "## Thresholds of best F1"
    yield prose("""
        Fitted to all labels. The interval of a threshold is where it would lie with other labels
        like these (200 bootstrap draws, 95%); a threshold is one of the scores, so that many draws
        give the same. F1, recall and precision are cross-fitted: five folds, five times, so that
        no image is judged by a threshold that it helped to fit. AUC looks at no threshold.
        Brackets are 95% intervals.""")
    crossfit = made.data.contract.crossfit
    assert crossfit is not None  # the default plan cross-fits
    rows: Rows = []
    for column, name in enumerate(CLASSES):
        cut, held = _cut(made, name), crossfit.categories[name]["positive"]
        area = auc_estimate(made.data.sample.scores[:, column], made.data.positive[:, column])
        rates = map(_estimate, (held.f1, held.recall, held.precision, area))
        rows.append([name, str(cut.positives), _number(cut.threshold, 4), _ends(cut.interval)])
        rows[-1] += rates
    yield table("class|positives|threshold|interval|F1|recall|precision|AUC", rows)
    yield prose(f"""
        Macro F1, cross-fitted: {crossfit.macro_f1:.3f}. Fitted to one half of the images at random
        and judged on the other half, over {made.splits} splits: {made.macro.mean():.3f} on average,
        from {np.quantile(made.macro, 0.05):.3f} to {np.quantile(made.macro, 0.95):.3f} in the
        middle 90% of splits. With so few positives the split alone moves it by that much.""")


def _people(made: Study) -> Iterator[str]:
    data, people = made.data, made.data.contract.people
    yield "## People, and CLIP beside them"
    yield prose("""
        Krippendorff's alpha says how far the raters agree beyond chance. The human ceiling is how
        one rater, taken out at random, agrees with the majority of the others; CLIP is the
        cross-fitted decision against the majority of all. Rates count every image, and nine
        tenths of the images are plain negatives; kappa takes that chance away.""")
    rows = [
        [
            name,
            _estimate(of.alpha),
            *(_estimate(rate, 3) for rate in (of.ceiling, of.machine)),
            *(_estimate(kappa) for kappa in (of.ceiling_kappa, of.machine_kappa)),
        ]
        for name, of in ((name, people[name]) for name in CLASSES)
    ]
    yield table("class|alpha|ceiling, rate|CLIP, rate|ceiling, kappa|CLIP, kappa", rows)
    gaps = {name: _kappa_gap(made, name) for name in CLASSES}
    least, most = min(gaps, key=lambda n: gaps[n]), max(gaps, key=lambda n: gaps[n])
    below = sum(gap > 0 for gap in gaps.values())
    ceilings = [_value(people[name].ceiling_kappa) for name in CLASSES]
    closed = int(np.sum(_best_kappas(data) < ceilings))
    yield prose(f"""
        In {below} of {len(gaps)} classes CLIP with a threshold agrees less with the raters than a
        rater does: kappa is lower by {gaps[least]:.2f} ({least}) to {gaps[most]:.2f} ({most}). Even
        the threshold with the best kappa on these very images stays below the ceiling in {closed}
        of {len(gaps)}: what is lacking is not a better threshold but a better score.""")
    chosen, majority = data.sample.scores.argmax(axis=1), data.sample.values.argmax(axis=1)
    (said, kappa), (own, _) = (
        pair_agreement(chosen, labels, len(CLASSES), None) for labels in (majority, data.truth)
    )
    ceiling, ceiling_kappa = human_ceiling(data.tally, None)
    yield prose(f"""
        Thresholds decide each class by itself, which is harder than to choose one of ten. Where an
        image must be of one class and that with the highest score is taken (zero-shot, nothing
        fitted), CLIP agrees with the data set's own labels on {_percent(own.value)} of the images
        and with the majority of the raters on {_percent(said.value)} (kappa {_estimate(kappa)}).
        One rater agrees with the majority of the others on {_percent(ceiling.value)} (kappa
        {_estimate(ceiling_kappa)}).""")


def _held_out(made: Study) -> Iterator[str]:
    yield "## A guaranteed recall, on the other half"
    needed = [(rate, positives_needed(rate)) for rate in (0.8, 0.85, 0.9)]
    half = made.data.positive.sum(axis=0).mean() / 2
    uncertain = math.sqrt(made.shown.rate * (1 - made.shown.rate) / half)
    listed = ", ".join(f"{number} for {rate:g}" for rate, number in needed)
    yield prose(f"""
        `--target recall=R` promises, with 95% confidence over the draw of the labelled images,
        that at least the share R *of all positives of the corpus* score at or above the threshold.
        That takes at least so many labelled positives: {listed}. Half of the images hold about
        {half:.0f} per class: too few for 0.9, mostly. Then clipcal says `insufficient`, and how
        many labels are lacking.""")
    yield prose(f"""
        Below, the labels of some images are drawn at random, {made.splits} times; thresholds are
        fitted to them, and recall is counted on the positives that were left out. *Naive* is the
        highest threshold whose recall in the sample is at least R.""")
    rows = [
        [
            *_asked(one),
            *_spread(one.held_out[one.certified], one.rate),
            *_spread(one.naive_out, one.rate),
        ]
        for one in made.recall
        if not one.draw.again
    ]
    yield table(
        "labelled|R|certified|mean|5% quantile|below R|naive: mean|5% quantile|below R", rows
    )
    yield prose(f"""
        *Certified* is the share of classes and draws with a guarantee; the three columns after it
        are over those, the last three over all. A recall below R here is not a broken promise: the
        other half has some {half:.0f} positives of a class, so that even a threshold with a true
        recall of {made.shown.rate:g} would show one that is off by about {uncertain:.2f} (a
        standard deviation). What is promised is the recall of the whole.""")


def _population(made: Study) -> Iterator[str]:
    shown = made.shown
    yield "## A guaranteed recall, in the population"
    yield prose("""
        So let the 500 images be the whole corpus: then its recall is known, and a guarantee is
        broken or is not. *Broken* is how often the recall of all the positives is below R, of the
        certified thresholds (at most 5% is promised) and of the naive ones; ± is the Monte Carlo
        standard error, and where no draw was among them (or all were) brackets hold the end of a
        one-sided 95% interval. *Exact* is the same computed from the distribution of the draw,
        without a simulation; *worst* is what was counted in the class with the most.""")
    naive_exact = [exact(made.data, one, naive=True) for one in made.recall]
    rows = [
        [
            *_asked(one),
            _with_error(one.broken, one.certified),
            _percent(exact(made.data, one)),
            _worst(one),
            _with_error(one.naive_broken),
            _percent(naive),
        ]
        for one, naive in zip(made.recall, naive_exact, strict=True)
    ]
    yield table("labelled|R|certified|broken|exact|worst|naive: broken|exact", rows)
    yield prose(f"""
        With half of all images labelled the promise is kept with much to spare: it is made for a
        corpus of any size, and here the labelled half is itself a part of what is judged. Drawn
        with replacement, the labels know no more of the 500 images than they would of a corpus of
        millions; that is the hard case, and the one the 5% are for. A rank is a whole number, which
        keeps the exact share below 5%. The naive threshold fails in {_percent(min(naive_exact))} to
        {_percent(max(naive_exact))} of draws.""")
    ours, naive = shown.attained[shown.certified], shown.naive
    yield f"![Recall in the population, per class, certified and naive]({FIGURE})"
    yield prose(f"""
        Per class, {shown.draw.name} images labelled, R = {shown.rate:g}, {made.splits} draws: the
        dot is the median of the recall of all positives, the line holds nine tenths of the draws.
        The price of the guarantee is a lower threshold: recall is {np.nanmean(ours):.3f} on
        average instead of {np.nanmean(naive):.3f}, and more is flagged.""")


def _others(made: Study) -> Iterator[str]:
    yield "## Precision, all classes at once, three bands"
    yield prose("""
        **Precision.** `--target precision=P` tests a coarse grid of thresholds that was declared
        without the labels. Broken is counted over all draws. *Naive* is the lowest threshold whose
        precision in the sample is at least P.""")
    rows = [
        [
            *_asked(one),
            _number(_mean(one.attained[one.certified]), 3),
            _with_error(one.broken),
            _with_error(one.naive_broken, ~np.isnan(one.naive)),
        ]
        for one in made.precision
    ]
    yield table("labelled|P|certified|precision where certified|broken|naive: broken", rows)
    yield prose("""
        Precision is certified less often than recall: only the labelled images above a threshold
        count, and the risk is divided over the grid. Where it is certified, it is then far above
        what was asked for.""")
    yield prose("""
        **All classes at once.** `--joint` promises all ten recalls together. Broken is the share
        of draws in which at least one certified recall of the ten is below R = 0.8.""")
    yield table(
        "labelled|joint: certified|broken|each by itself: certified|broken|naive: broken",
        [_joint_row(made, one) for one in made.joint],
    )
    alone, shared = positives_needed(0.8), positives_needed(0.8, 1 - 0.05 / len(CLASSES))
    yield prose(f"""
        Each by itself may fail in 5% of draws, and ten of them add up; joint guarantees share the
        5%, and so take more positives each ({shared} instead of {alone}).""")
    yield from _bands(made)


def _bands(made: Study) -> Iterator[str]:
    yield prose("""
        **Three bands.** `--bands recall=0.8,precision=0.8` allows what is below a threshold of
        guaranteed recall, blocks what is above one of guaranteed precision, and leaves the rest to
        people; the two share the 5%. Averages over classes and draws, in the population; *missed*
        are the positives among those allowed, as a share of all positives.""")
    rows = [
        [
            one.draw.name,
            *map(_percent, (one.lower.mean(), one.upper.mean(), *one.shares.mean(axis=(0, 1)))),
            _percent(one.missed.mean()),
            _percent(_mean(one.wrong[~np.isnan(one.wrong)])),
        ]
        for one in made.bands
    ]
    yield table(
        "labelled|recall certified|precision certified|allow|review|block|missed|wrongly blocked",
        rows,
    )
    first = made.bands[0]
    review, missed = first.shares[..., 1].mean(), first.missed.mean()
    yield prose(f"""
        With {first.draw.images} labels people look at {_percent(review)} of the images for each
        class, where about one in ten is positive, and {_percent(missed)} of the positives
        pass unseen. Without a certified precision nothing is blocked, and all of it is review.""")


SOURCES = (
    "Images: CIFAR-10 (Krizhevsky 2009).",
    """Raters: [jcpeterson/cifar-10h](https://github.com/jcpeterson/cifar-10h) (Peterson and others
    2019), CC BY-NC-SA 4.0.""",
    "Embeddings of the images: infinitiveaman/clip-cifar10-search (see there for its terms).",
    "Text vectors: facebookresearch/Detic, Apache-2.0.",
)
NOT_SHOWN = (
    """One model, one sentence per class, images of 32×32 pixels: with other images and sentences,
    agreement and F1 are others. The guarantees do not depend on the model; how often they can be
    given does.""",
    """The majority of some 50 raters is taken as true. Most label files have one to three raters
    per image; their majority errs more, and a guarantee speaks of what raters like these call
    positive.""",
    """Labels are drawn at random, as a guarantee demands. Labels that were picked in another way,
    and a corpus that has changed since, are not tried here.""",
    """One class in ten is frequent. Where one image in a thousand is positive, as many labelled
    positives take a hundred times as many labels.""",
)


def _again(made: Study) -> Iterator[str]:
    yield "## To make it again"
    yield "```sh\npython docs/make_cifar10h.py FOLDER\n```"
    yield prose(f"""
        It takes about {10 * math.ceil(made.seconds / 10)} seconds on two CPU cores, with seed
        {made.seed} and {made.splits} draws (`--seed`, `--splits`). FOLDER is a folder with the
        embeddings (`img_emb/`, `metadata/`), `rater_counts.csv`, `truth.csv` and
        `text_vectors.npz`; none of it is part of this project.""")
    yield _listed(SOURCES)
    yield "## What this does not show"
    yield _listed(NOT_SHOWN)


def _listed(points: Iterable[str]) -> str:
    return "\n".join(f"- {prose(each, 98)}".replace("\n", "\n  ") for each in points)


def _cut(made: Study, name: str) -> Cut:
    return made.data.contract.categories[name]["positive"]


def _value(estimate: Estimate | None) -> float:
    return math.nan if estimate is None else estimate.value


def _kappa_gap(made: Study, name: str) -> float:
    people = made.data.contract.people[name]
    return _value(people.ceiling_kappa) - _value(people.machine_kappa)


def _best_kappas(data: Data) -> Rates:
    """Return per class, (c,), the best kappa that any threshold attains on these very images."""
    best = []
    for column in range(len(CLASSES)):
        cut = data.sample.of(column, 1)
        labels = cut.positive.astype(np.int64)
        flags = (decide(cut.scores, score).astype(np.int64) for score in np.unique(cut.scores)[1:])
        best.append(max(weighted_kappa(labels, some, 2) or 0.0 for some in flags))
    return np.array(best)


def _joint_row(made: Study, joint: Outcome) -> list[str]:
    """Hold a joint guarantee against the same one class at a time, on the same draws."""
    single = next(one for one in made.recall if one.draw == joint.draw and one.rate == joint.rate)
    return [
        joint.draw.name,
        _percent(joint.certified.mean()),
        _with_error(any_of(joint.broken)),
        _percent(single.certified.mean()),
        _with_error(any_of(single.broken)),
        _with_error(any_of(single.naive_broken)),
    ]


# --- numbers in words -------------------------------------------------------------------------


def _with_error(marks: Marks, among: Marks | None = None) -> str:
    """Write a share with its Monte Carlo error; classes of one draw are not independent."""
    share, error = share_of(marks, among)
    if math.isnan(share):
        return "–"
    # As many draws as would hold what was counted, if each had a guarantee in every class.
    draws = max(marks.size if among is None else int(among.sum()), marks.shape[1])
    whole = draws // marks.shape[1]
    least = clopper_pearson(whole, whole, 0.9).low  # one-sided with 95%
    if share == 0:
        return f"0.0% (≤ {_percent(1 - least)})"
    if share == 1:
        return f"100.0% (≥ {_percent(least)})"
    return f"{_percent(share)} ± {100 * error:.1f}"


def share_of(marks: Marks, among: Marks | None = None) -> tuple[float, float]:
    """Return a share over draws and classes, and the standard error of this ratio over draws."""
    among = np.ones_like(marks) if among is None else among
    hits, number = (marks & among).sum(axis=1), among.sum(axis=1)
    if not number.any():
        return math.nan, math.nan
    share = hits.sum() / number.sum()
    spread = np.sqrt(np.sum((hits - share * number) ** 2))
    return float(share), float(spread / number.sum())


def _asked(one: Outcome) -> list[str]:
    """Return the columns that tables of outcomes begin with."""
    return [one.draw.name, f"{one.rate:g}", _percent(one.certified.mean())]


def any_of(marks: Marks) -> Marks:
    """Tell of each draw whether any class is marked, Bool[(s, 1)]."""
    return np.asarray(marks.any(axis=1), np.bool_)[:, None]


def _worst(one: Outcome) -> str:
    times, of = one.broken.sum(axis=0), one.certified.sum(axis=0)
    return _percent(float(np.max(times / np.maximum(of, 1)))) if of.any() else "–"


def exact(data: Data, outcome: Outcome, *, naive: bool = False) -> float:
    """Return how likely the recall of a threshold that is given is too low, over all classes."""
    given, broken = chance(data, outcome, naive=naive).sum(axis=1)
    return float(broken / given)


def _spread(found: Rates, rate: float) -> list[str]:
    known = found[~np.isnan(found)]
    if not len(known):
        return ["–"] * 3
    low = float(np.mean(known < rate - _ROUNDING))
    return [f"{known.mean():.3f}", f"{np.quantile(known, 0.05):.3f}", _percent(low)]


def _mean(values: Rates) -> float:
    return float(values.mean()) if len(values) else math.nan


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}%"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _ends(interval: Range | None) -> str:
    return "–" if interval is None else f"{interval.low:.4f}–{interval.high:.4f}"


def _estimate(estimate: Estimate | None, digits: int = 2) -> str:
    if estimate is None:
        return "–"
    value, low, high = (f"{x:.{digits}f}" for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def prose(text: str, width: int = 100) -> str:
    """Wrap a paragraph."""
    words = " ".join(text.split())
    return textwrap.fill(words, width, break_long_words=False, break_on_hyphens=False)


def table(head: str, rows: Rows) -> str:
    """Set a table: the first column to the left, numbers to the right."""
    lines = [head.split("|"), *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    aligned = [
        [line[0].ljust(widths[0]), *starmap(str.rjust, zip(line[1:], widths[1:], strict=True))]
        for line in (lines[0], *rows)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (aligned[0], rule, *aligned[1:]))


# --- the figure -------------------------------------------------------------------------------

FIGURE = "cifar10h.svg"
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 640, 128, 24, 108, 46
_OURS, _NAIVE, _INK, _GRID = "#1b62a5", "#b8500b", "#222222", "#d9d9d9"


def figure(made: Study) -> str:
    """Draw, per class, the recall in the population over the draws: an SVG file."""
    shown, bottom = made.shown, _TOP + _ROW * len(CLASSES)
    ours = [_quantiles(shown.attained[sure, c]) for c, sure in enumerate(shown.certified.T)]
    naive = [_quantiles(column) for column in shown.naive.T]
    scale = _Scale(math.floor(10 * float(np.nanmin([ours, naive]))) / 10)
    parts = [*_axis(scale, bottom), *_legend(made), *_target(scale(shown.rate), shown.rate, bottom)]
    for column, name in enumerate(CLASSES):
        middle = _TOP + _ROW * (column + 0.5)
        parts.append(_text(_LEFT - 12, middle + 7, name, "end"))
        parts += _whisker(list(map(scale, ours[column])), middle - 9, _OURS, square=False)
        parts += _whisker(list(map(scale, naive[column])), middle + 9, _NAIVE, square=True)
    body = "\n".join(f"  {part}" for part in parts)
    size = f'viewBox="0 0 {_WIDTH} {bottom + 66}" font-family="Helvetica, Arial, sans-serif"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="20" fill="{_INK}" role="img">\n'
        f"  <title>Recall in the population, certified and naive thresholds</title>\n"
        f'  <rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """From recall to the right, from `lowest` to 1."""

    lowest: float

    def __call__(self, recall: float) -> float:
        share = (recall - self.lowest) / (1 - self.lowest)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _quantiles(recalls: Rates) -> tuple[float, float, float]:
    """Return the 5% quantile, the median and the 95% quantile; NaN where there are none."""
    if not len(recalls):
        return math.nan, math.nan, math.nan
    low, middle, high = np.quantile(recalls, (0.05, 0.5, 0.95)).tolist()
    return low, middle, high


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{words}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str) -> str:
    ends = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
    return f'<line {ends} stroke="{colour}" {more}/>'


def _axis(scale: _Scale, bottom: float) -> Iterator[str]:
    for tenth in range(round(10 * scale.lowest), 11):
        x = scale(tenth / 10)
        yield _line(x, _TOP, x, bottom, _GRID, 'stroke-width="1"')
        yield _text(x, bottom + 26, f"{tenth / 10:.1f}", "middle")
    yield _text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 54, "recall of all positives", "middle")


def _target(x: float, rate: float, bottom: float) -> Iterator[str]:
    yield _line(x, _TOP - 8, x, bottom, _INK, 'stroke-width="2.5" stroke-dasharray="7 5"')
    yield _text(x, _TOP - 15, f"R = {rate:g}", "middle")


def _legend(made: Study) -> Iterator[str]:
    for y, colour, words, broken in (
        (26, _OURS, "certified", share_of(made.shown.broken, made.shown.certified)[0]),
        (56, _NAIVE, "naive", share_of(made.shown.naive_broken)[0]),
    ):
        yield _mark(18, y - 7, colour, square=words == "naive")
        yield _text(34, y, f"{words}: below R in {_percent(broken)} of draws")


def _mark(x: float, y: float, colour: str, *, square: bool) -> str:
    if square:
        return f'<rect x="{x - 6:g}" y="{y - 6:g}" width="12" height="12" fill="{colour}"/>'
    return f'<circle cx="{x:g}" cy="{y:g}" r="7" fill="{colour}"/>'


def _whisker(places: Sequence[float], y: float, colour: str, *, square: bool) -> Iterator[str]:
    """Draw the median on the line between the outer quantiles; nothing where there are none."""
    low, middle, high = places
    if not math.isnan(middle):
        yield _line(low, y, high, y, colour, 'stroke-width="4" stroke-linecap="round"')
        yield _mark(middle, y, colour, square=square)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the study, and write page and figure."""
    parser = argparse.ArgumentParser(description="Write docs/cifar10h.md and its figure.")
    parser.add_argument("folder", type=Path, help="the data set")
    parser.add_argument("--splits", type=int, default=SPLITS, help="draws of labels per goal")
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    parser.add_argument("--out", type=Path, default=HERE, help="where page and figure go")
    chosen = parser.parse_args(arguments)
    made = study(chosen.folder, chosen.splits, chosen.seed)
    (chosen.out / "cifar10h.md").write_text(page(made), encoding="utf-8")
    (chosen.out / FIGURE).write_text(figure(made), encoding="utf-8")


if __name__ == "__main__":
    main()
