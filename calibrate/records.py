"""The records of a calibration: cuts, what is known of them, and how they did."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from clipcal.calibrate.statistics.bounds import Estimate, Range
from clipcal.calibrate.statistics.ordinal import OrdinalFit
from clipcal.calibrate.statistics.probability import ProbabilityMap, ProbabilityQuality

Status = Literal["certified", "estimated", "insufficient", "no_positives", "no_negatives"]
BY_HAND: Final = "by hand"
"""The objective of a threshold that a person placed and of which nothing is promised."""


class Record(BaseModel):
    """What a contract is made of; never changed, and without fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Expected(Record):
    """What a cut does to the whole corpus, as far as the labels tell.

    Attributes
    ----------
    true_flags, false_flags : Range or None
        Flagged images that are positive, and that are not; together the flags. None where no
        labelled image is flagged.
    misses : Range or None
        Positives that are not flagged; None where every labelled image is flagged.
    """

    true_flags: Range | None = None
    false_flags: Range | None = None
    misses: Range | None = None


class Bands(Record):
    """Allow below the cut's threshold, block from `upper` on, review between the two.

    Attributes
    ----------
    status : str
        Of `upper`: ``certified`` or why not; see `Cut`.
    objective : str
        What was asked of it, such as ``precision=0.9``; ``by hand`` where a person placed it and
        nothing is promised of it.
    by_hand : bool
        Whether a person placed it.
    upper : float or None
        At or above the cut's threshold; None where nothing can be blocked unseen.
    interval : Range or None
        `upper` with a bootstrap interval.
    n : int
        Labelled images.
    evidence : int or None
        How many labelled images the guarantee rests on.
    confidence : float or None
        Of the guarantee.
    precision : Estimate or None
        At `upper`, on the labels.
    allow, review, block : int
        Images of the corpus; `review` is what people have to look at. Nothing is allowed below
        a threshold that is neither certified for a recall nor placed by hand (see
        `Cut.allowing`), and nothing is blocked where `upper` is neither certified nor placed.
    misses : Range or None
        Expected positives among those allowed.
    wrongly_blocked : Range or None
        Expected negatives among those blocked.
    guarantee : str or None
        Of the precision, with its assumptions, as a sentence.
    further_flagged, further_labels : int or None
        How many more flagged images a guarantee needs, and about how many images must be
        labelled to find them.
    next_step : str
        What to do now.
    """

    status: Status
    objective: str
    by_hand: bool = False
    upper: float | None
    interval: Range | None = None
    n: int = Field(default=0, ge=0)
    evidence: int | None = None
    confidence: float | None = None
    precision: Estimate | None = None
    allow: int
    review: int
    block: int
    misses: Range | None = None
    wrongly_blocked: Range | None = None
    guarantee: str | None = None
    further_flagged: int | None = None
    further_labels: int | None = None
    next_step: str


class CutProbability(Record):
    """Probabilities of one cut.

    Attributes
    ----------
    map : ProbabilityMap
        From scores to the probability that people call the image positive.
    quality : ProbabilityQuality or None
        Out of fold; None where there are too few labels to tell.
    labelled_prevalence : float
        Rate of positives among the labels, as the map itself has it.
    corpus_prevalence : float or None
        Rate in the corpus as estimated from its scores, to which the probabilities are
        adjusted; None where no adjustment was asked for.
    """

    map: ProbabilityMap
    quality: ProbabilityQuality | None = None
    labelled_prevalence: float
    corpus_prevalence: float | None = None


class Cut(Record):
    """A threshold for one category and level, and what is known of it.

    Attributes
    ----------
    status : str
        ``certified``: the guarantee holds. ``estimated``: the best in the sample (unless
        `lowered`), a budget kept, or placed by hand, with or without labels, all without a
        guarantee. ``insufficient``: what was asked for
        is not attained with these labels (too few for the guarantee, a budget below a tie, levels
        that no score divides); the threshold, if any, only attains it in the sample.
        ``no_positives``, ``no_negatives``: one side has no labels, and there is no threshold.
    threshold : float or None
        Images that score at or above it are flagged.
    interval : Range or None
        The threshold with a bootstrap interval: where it would lie with other labels like these.
    objective : str
        What was asked for, such as ``recall=0.9``; ``by hand`` where a person placed the
        threshold and nothing is promised of it.
    by_hand : bool
        Whether a person placed the threshold; see `clipcal.calibrate.cuts.by_hand` for what may
        then be claimed.
    lowered : bool
        Whether the threshold was brought down to that of a higher level, so that the levels
        stay in order; it is then not the best in the sample.
    n, positives : int
        Labelled images, and positives among them.
    evidence : int or None
        How many labelled images the guarantee rests on: positives for recall, flagged images
        for precision; only those that were not picked by their scores.
    confidence : float or None
        Of the guarantee of this cut by itself; above the contract's where guarantees hold
        jointly.
    recall, precision : Estimate or None
        At the threshold, on the labels that it was fitted to; precision is None where there
        are no negatives or no flags. An evaluation is what is without optimism.
    flags : int or None
        How many images of the corpus it flags; where a budget is too small for any threshold,
        how many share the highest score.
    expected : Expected or None
        How many of them are right and wrong, and how many are missed.
    guarantee : str or None
        The guarantee with its assumptions, as a sentence.
    further_positives, further_labels : int or None
        How many more positives (for precision: flagged images) a guarantee needs, and about
        how many images must be labelled to find them.
    bands : Bands or None
        Where three bands were asked for.
    probability : CutProbability or None
        Where probabilities were asked for.
    next_step : str
        What to do now.
    """

    status: Status
    threshold: float | None
    interval: Range | None = None
    objective: str
    by_hand: bool = False
    lowered: bool = False
    n: int = Field(ge=0)
    positives: int = Field(ge=0)
    evidence: int | None = None
    confidence: float | None = None
    recall: Estimate | None = None
    precision: Estimate | None = None
    flags: int | None = None
    expected: Expected | None = None
    guarantee: str | None = None
    further_positives: int | None = None
    further_labels: int | None = None
    bands: Bands | None = None
    probability: CutProbability | None = None
    next_step: str

    @property
    def allowing(self) -> float | None:
        """With bands, the threshold below which images are allowed unseen; None if none are.

        That takes a recall that is certified, or a person who placed the threshold and answers
        for it.
        """
        sure = self.status == "certified" and self.objective.startswith("recall")
        return self.threshold if sure or self.by_hand else None


class HeldOut(Record):
    """How one cut did on labelled images that it was not fitted to.

    Attributes
    ----------
    n, positives, flags : int
        Images, positives among them, and flags (rounded, where several fits are averaged).
    recall, precision, f1 : Estimate or None
        None where there is nothing to divide by, and in cross-fitting where there are fewer
        positives or negatives than folds.
    """

    n: int
    positives: int
    flags: int
    recall: Estimate | None
    precision: Estimate | None
    f1: Estimate | None


class Evaluation(Record):
    """How a calibration did on labelled images that it was not fitted to.

    Attributes
    ----------
    fraction : float or None
        The share of the labelled images that was kept out; None for cross-fitting.
    folds, repeats : int or None
        Cross-fitting: into how many parts the images were divided, each left out in turn, and
        how often anew. The thresholds are then those of the procedure, not the contract's own.
    images : int
        Images evaluated on.
    clusters : int
        Groups of near copies among them; a group was never divided.
    macro_f1 : float or None
        Mean F1 over the `macro_over` cuts with a threshold and with positives or flags.
    macro_over : int
        Number of cuts in the mean.
    categories : dict
        By category and level.
    """

    fraction: float | None
    folds: int | None = None
    repeats: int | None = None
    images: int
    clusters: int
    macro_f1: float | None
    macro_over: int
    categories: dict[str, dict[str, HeldOut]]


class Reference(Record):
    """The scores at calibration, to notice when those of new images are different.

    Attributes
    ----------
    rows : int
        Embeddings of the corpus then.
    chain : str
        Which ones they were.
    images : int
        Images scored.
    quantiles : dict
        Per category the scores at equally spaced ranks, from lowest to highest.
    """

    rows: int
    chain: str
    images: int
    quantiles: dict[str, tuple[float, ...]]


class Sampling(Record):
    """How the labelled images came to be labelled.

    Attributes
    ----------
    given : int
        Labelled without having been suggested; taken as a random sample.
    audit : int
        Suggested uniformly at random.
    picked : int
        Suggested for their scores: weighted in estimates, left out of guarantees.
    chosen : int
        Labelled because somebody saw them for their scores, and drawn by no round since: left out
        of estimates and guarantees.
    """

    given: int
    audit: int
    picked: int
    chosen: int = 0


class OverallModel(Record):
    """A fitted overall verdict.

    Attributes
    ----------
    verdicts : tuple of str
        From the mildest to the gravest.
    categories : tuple of str
        Whose scores are the features.
    fit : OrdinalFit
        Proportional odds.
    images : int
        Labelled images that it was fitted to.
    agreement, kappa : Estimate or None
        With the labels, out of fold; None where there are too few.
    rule_agreement : Estimate or None
        What the prompt set's rule attains on the same images, from the thresholds out of fold.
    """

    verdicts: tuple[str, ...]
    categories: tuple[str, ...]
    fit: OrdinalFit
    images: int
    agreement: Estimate | None = None
    kappa: Estimate | None = None
    rule_agreement: Estimate | None = None
