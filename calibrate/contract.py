"""A calibration as it is kept: thresholds, what they promise, and what they were fitted to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clipcal.calibrate.heads import Head, HeadComparison
from clipcal.calibrate.statistics.agreement import CategoryAgreement
from clipcal.calibrate.statistics.bounds import Estimate, Range
from clipcal.calibrate.statistics.ordinal import OrdinalFit
from clipcal.calibrate.statistics.probability import (
    ClassTemperature,
    ProbabilityMap,
    ProbabilityQuality,
)
from clipcal.errors import CalibrationError, FingerprintMismatch
from clipcal.files import replacing
from clipcal.prompts.promptset import PromptSet, parse_prompt_set

FORMAT_VERSION: Final = 2

Status = Literal["certified", "estimated", "insufficient", "no_positives", "no_negatives"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Fingerprint(_Record):
    """What decides a score, besides the image.

    Attributes
    ----------
    model : str
        Fingerprint of the bundle that embedded the corpus.
    preprocessing : str
        How images became pixels.
    prompts : str
        Hash of the prompt set.
    score_rule : str
        How similarities became a score, such as ``margin``.
    """

    model: str
    preprocessing: str
    prompts: str
    score_rule: str


class NamedFile(_Record):
    """What the calibration was fitted to, by name and hash."""

    name: str
    sha256: str


class KeptPromptSet(NamedFile):
    """The prompt set, whole: the user's file may change or go.

    Attributes
    ----------
    toml : str
        The set as `PromptSet.to_toml` writes it.
    """

    toml: str

    @classmethod
    def of(cls, prompt_set: PromptSet) -> KeptPromptSet:
        """Keep a prompt set."""
        return cls(name=prompt_set.name, sha256=prompt_set.sha256, toml=prompt_set.to_toml())

    def parse(self) -> PromptSet:
        """Read the set again; PromptError if it was changed into none."""
        return parse_prompt_set(self.toml, source=f"{self.name} in the calibration", format="toml")


class Labels(NamedFile):
    """The label file, and how many of its images the corpus holds."""

    images: int = Field(ge=0)


class Expected(_Record):
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


class Bands(_Record):
    """Allow below the cut's threshold, block from `upper` on, review between the two.

    Attributes
    ----------
    status : str
        Of `upper`: ``certified`` or why not; see `Cut`.
    objective : str
        What was asked of it, such as ``precision=0.9``.
    upper : float or None
        At or above the cut's threshold; None where nothing can be blocked unseen.
    evidence : int or None
        How many labelled images the guarantee rests on.
    confidence : float or None
        Of the guarantee.
    precision : Estimate or None
        At `upper`, on the labels.
    allow, review, block : int
        Images of the corpus; `review` is what people have to look at.
    misses : Range or None
        Expected positives among those allowed.
    wrongly_blocked : Range or None
        Expected negatives among those blocked.
    guarantee : str or None
        Of the precision, with its assumptions, as a sentence.
    next_step : str
        What to do now.
    """

    status: Status
    objective: str
    upper: float | None
    evidence: int | None = None
    confidence: float | None = None
    precision: Estimate | None = None
    allow: int
    review: int
    block: int
    misses: Range | None = None
    wrongly_blocked: Range | None = None
    guarantee: str | None = None
    next_step: str


class CutProbability(_Record):
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


class Cut(_Record):
    """A threshold for one category and level, and what is known of it.

    Attributes
    ----------
    status : str
        ``certified``: the guarantee holds. ``estimated``: the best in the sample (unless
        `lowered`), or a budget kept, without a guarantee. ``insufficient``: too few labels for
        the guarantee that was asked for; the threshold, if any, only attains it in the sample.
        ``no_positives``, ``no_negatives``: one side has no labels, and there is no threshold.
    threshold : float or None
        Images that score at or above it are flagged.
    interval : Range or None
        The threshold with a bootstrap interval: where it would lie with other labels like these.
    objective : str
        What was asked for, such as ``recall=0.9``.
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
        How many images of the corpus it flags.
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


class HeldOut(_Record):
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


class Evaluation(_Record):
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


class Reference(_Record):
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


class Sampling(_Record):
    """How the labelled images came to be labelled.

    Attributes
    ----------
    given : int
        Labelled without having been suggested; taken as a random sample.
    audit : int
        Suggested uniformly at random.
    picked : int
        Suggested for their scores: weighted in estimates, left out of guarantees.
    """

    given: int
    audit: int
    picked: int


class OverallModel(_Record):
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


class Contract(_Record):
    """The file ``calibration.json``.

    Attributes
    ----------
    format_version : int
        Of this file's layout.
    created : str
        When, in ISO 8601.
    clipcal : str
        The version that fitted it.
    model : str
        Name of the model.
    fingerprint : Fingerprint
        What the scores came from; `check` compares it with a corpus's own.
    prompt_set : KeptPromptSet
        The prompt set, whole.
    labels : Labels
        The label file.
    levels : tuple of str
        From low to high; ``("negative", "positive")`` for yes or no.
    confidence : float
        With which each guarantee holds, category by category.
    target : str
        What was asked for, such as ``recall=0.9``.
    seed : int
        Of the split into fitting and hold-out.
    joint : bool
        Whether all guarantees hold together with `confidence`, or each by itself.
    holdout : Evaluation or None
        On labelled images kept out.
    crossfit : Evaluation or None
        On labelled images left out in turn.
    sampling : Sampling or None
        How the labelled images were chosen.
    people : dict
        Per category how far raters agree; empty where there is one rating per image.
    heads : dict
        Learned scores by category; they stand in place of the score rule's.
    comparisons : dict
        Per category how a learned score did against the plain one, offered or not.
    temperature : ClassTemperature or None
        Where class probabilities were asked for.
    overall : OverallModel or None
        A fitted overall verdict; else the prompt set's rule serves.
    reference : Reference or None
        The scores at calibration.
    categories : dict
        The cuts, by category and by level above the lowest.

    Notes
    -----
    The file also holds ``seal``, a hash of all the rest, so that a threshold changed by hand is
    noticed. It keeps honest people from mistakes; whoever means to deceive can seal anew.
    """

    format_version: Literal[2] = FORMAT_VERSION
    created: str
    clipcal: str
    model: str
    fingerprint: Fingerprint
    prompt_set: KeptPromptSet
    labels: Labels
    levels: tuple[str, ...] = Field(min_length=2)
    confidence: float = Field(gt=0, lt=1)
    target: str
    seed: int
    joint: bool = False
    holdout: Evaluation | None = None
    crossfit: Evaluation | None = None
    sampling: Sampling | None = None
    people: dict[str, CategoryAgreement] = Field(default_factory=dict)
    heads: dict[str, Head] = Field(default_factory=dict)
    comparisons: dict[str, HeadComparison] = Field(default_factory=dict)
    temperature: ClassTemperature | None = None
    overall: OverallModel | None = None
    reference: Reference | None = None
    categories: dict[str, dict[str, Cut]]

    def save(self, path: Path) -> None:
        """Write the contract so that a reader sees the old file or the new one, never a part.

        Parameters
        ----------
        path : pathlib.Path
            The file; its folder must exist.

        Raises
        ------
        CalibrationError
            If it cannot be written.
        """
        try:
            with replacing(path) as part:
                part.write_bytes(self.sealed().encode() + b"\n")
        except OSError as error:
            raise CalibrationError(
                f"The calibration cannot be written to {path} ({error.strerror}). Name a file "
                f"in a folder that can be written to: clipcal calibrate -o FILE.json"
            ) from error

    def sealed(self) -> str:
        """Write the contract as JSON, with a hash of its content."""
        content = self.model_dump(mode="json")
        return json.dumps({"seal": _seal(content), **content}, indent=2, ensure_ascii=False)

    @classmethod
    def load(cls, path: Path) -> Contract:
        """Read a contract.

        Parameters
        ----------
        path : pathlib.Path
            The file.

        Returns
        -------
        Contract
            Its content.

        Raises
        ------
        CalibrationError
            If the file is missing, damaged, of another version, or was changed by hand.
        """
        try:
            content = json.loads(path.read_bytes())
            seal = content.pop("seal", None) if isinstance(content, dict) else None
            contract = cls.model_validate(content)
        except FileNotFoundError:
            raise CalibrationError(
                f"There is no calibration {path}. Fit one: clipcal calibrate --labels FILE.csv "
                f"-o {path}"
            ) from None
        except OSError as error:
            raise CalibrationError(
                f"The calibration {path} cannot be read ({error.strerror}). Name a file: "
                f"clipcal rescore --calibration FILE.json"
            ) from error
        except ValidationError as error:
            raise CalibrationError(
                f"{path} is no calibration that this version reads ({_first(error)}). "
                f"Fit it again: clipcal calibrate --labels FILE.csv -o {path}"
            ) from error
        except ValueError as error:
            raise CalibrationError(
                f"{path} is damaged ({error}). Fit it again: clipcal calibrate --labels FILE.csv "
                f"-o {path}"
            ) from error
        if seal != _seal(content):
            raise CalibrationError(
                f"{path} was changed after it was fitted (its seal does not fit its content), so "
                f"that it no longer stands for what it promises. Fit it again: "
                f"clipcal calibrate --labels FILE.csv -o {path}"
            )
        return contract


def _seal(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def check(fingerprint: Fingerprint, other: Fingerprint, prompt_set: str = "its own") -> None:
    """Refuse to apply a calibration to scores that come from something else.

    Parameters
    ----------
    fingerprint : Fingerprint
        Of the contract.
    other : Fingerprint
        Of the scores that it is to be applied to.
    prompt_set : str
        Name of the contract's prompt set, for the message.

    Raises
    ------
    FingerprintMismatch
        If a field differs; the message names it, with both values.
    """
    for field in Fingerprint.model_fields:
        ours, theirs = getattr(fingerprint, field), getattr(other, field)
        if ours != theirs:
            raise FingerprintMismatch(
                f"The calibration was fitted with {_FIELDS[field]} {_short(ours)}, the corpus is "
                f"scored with {_short(theirs)} ({field} differs). "
                f"{_REMEDIES[field].format(prompt_set=prompt_set)}"
            )


_FIELDS = {
    "model": "the model",
    "preprocessing": "the preprocessing",
    "prompts": "the prompt set",
    "score_rule": "the score rule",
}
_AGAIN = "Fit it for this corpus: clipcal calibrate --labels FILE.csv"
_REMEDIES = {
    "model": f"{_AGAIN}, or embed the images with that model: clipcal embed --model BUNDLE",
    "preprocessing": f"{_AGAIN}, or embed the images again: clipcal embed --model BUNDLE",
    "prompts": "Use the set that the calibration keeps ({prompt_set}), by leaving out --prompts; "
    "or fit it for this set: clipcal calibrate --labels FILE.csv --prompts SET",
    "score_rule": _AGAIN,
}


def _short(value: str) -> str:
    """Shorten a hash; leave a name as it is."""
    return value if len(value) <= 40 else f"{value[:12]}…"


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {detail['msg']}" if where else detail["msg"]
