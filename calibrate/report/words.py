"""The report's sentences and numbers; every one is read off the contract or counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from clipcal.calibrate.contract import Contract
from clipcal.calibrate.records import Bands, Cut
from clipcal.calibrate.report.content import CutReport
from clipcal.calibrate.statistics.bounds import Estimate, Range
from clipcal.calibrate.statistics.probability import ProbabilityQuality

# Symbol and words: a status is never told by its colour alone.
STATUSES = {
    "certified": ("✔", "certified", "The guarantee holds, under the assumptions it names."),
    "estimated": ("≈", "estimated", "Chosen by the sample; nothing is guaranteed."),
    "insufficient": (
        "▲",
        "insufficient",
        "What was asked for is not attained with these labels; the next step says what it takes.",
    ),
    "no_positives": ("○", "no positives", "No image is labelled positive: there is no threshold."),
    "no_negatives": ("○", "no negatives", "No image is labelled negative: there is no threshold."),
}

KINDS = {
    "top": "Flagged, highest scores",
    "above": "Flagged, just above the threshold",
    "below": "Not flagged, just below the threshold",
    "missed": "Missed: labelled positive, not flagged; the nearest first",
    "false_flags": "False flags: labelled negative, flagged; the nearest first",
    "block": "Blocked, drawn at random",
    "review": "To be reviewed, drawn at random",
    "allow": "Allowed, drawn at random",
    "allowed_positives": "Wrongly allowed: labelled positive; the nearest first",
    "blocked_negatives": "Wrongly blocked: labelled negative; the nearest first",
    "unlabelled_top": "No label yet, highest scores",
}

HEADS = {"probe": "linear probe", "tip_adapter": "Tip-Adapter"}


def percent(share: float) -> str:
    """Write a share with three digits; what only rounds to all or nothing is not called so."""
    if 0 < share < 0.0001:
        return "<0.01%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{100 * share:.3g}%"


def interval(rate: Estimate) -> str:
    """Write the ends of an interval of a rate, as in 88.9–99.6%."""
    return f"{percent(rate.low).rstrip('%')}–{percent(rate.high)}"


def span(value: Estimate | Range, digits: int) -> str:
    """Write the ends of an interval of a plain number, as in 0.64 to 0.78."""
    return f"{value.low:.{digits}f} to {value.high:.{digits}f}"


def amount(number: Range) -> str:
    """Write an expected number of images with its interval, as in 180 (165–195)."""
    return f"{number.value:,.0f} ({number.low:,.0f}–{number.high:,.0f})"


def claim(cut: Cut, contract: Contract) -> str:
    """Say in a few words what is guaranteed, or what a guarantee lacks.

    Parameters
    ----------
    cut : Cut
        The cut.
    contract : Contract
        Whose confidence holds for all guarantees together, or for this one by itself.

    Returns
    -------
    str
        For a table; the contract has it as a sentence with its assumptions.
    """
    match cut.status:
        case "certified":
            return f"{_rate(cut.objective)} with {percent(_promised(cut, contract))} confidence"
        case "estimated":
            return f"none: {_chosen_by(cut)}"
        case "insufficient":
            return f"not yet: {_lacking(cut)}"
        case "no_positives" | "no_negatives":
            needed = cut.further_positives
            return f"not yet: {needed:,} positives needed" if needed else "not yet"


def _rate(objective: str) -> str:
    name, _, value = objective.partition("=")
    return f"{name} ≥ {percent(float(value))}" if value else name


def _promised(cut: Cut, contract: Contract) -> float:
    """Of the guarantee as it is given: with all the others, or by itself."""
    return contract.confidence if contract.joint else _confidence(cut, contract)


def _confidence(cut: Cut | Bands, contract: Contract) -> float:
    """Of the guarantee of a cut by itself."""
    return contract.confidence if cut.confidence is None else cut.confidence


def _chosen_by(cut: Cut) -> str:
    """Say what an uncertified threshold was chosen for."""
    if cut.by_hand:
        return "placed by hand"
    name, _, value = cut.objective.partition("=")
    if cut.lowered:
        return "lowered to a higher level's threshold"
    match name:
        case "cost":
            return f"cheapest in the sample at {value} (miss : false flag)"
        case "budget":
            return f"a budget of {value} flags"
        case "levels":
            return "where two levels are equally probable"
        case "fbeta":
            return f"best F{value} in the sample"
        case _:
            return f"best {'F1' if name == 'f1' else name} in the sample"


def _lacking(cut: Cut) -> str:
    if cut.objective.startswith("budget"):
        return "more images share the highest score than it allows"
    if cut.objective == "levels":
        return "scores do not rise with the levels"
    if cut.further_positives is None:
        return "these labels do not attain it"
    flagged = cut.objective.startswith("precision")
    kind = "flagged images labelled" if flagged else "positives"
    return f"{cut.further_positives:,} more {kind} needed"


def headline(contract: Contract) -> str:
    """Count the thresholds by status, in one sentence or two."""
    cuts = [cut for levels in contract.categories.values() for cut in levels.values()]
    counted = Counter[str](cut.status for cut in cuts)
    parts = [f"{counted[key]:,} {said[1]}" for key, said in STATUSES.items() if counted[key]]
    kind = "categories" if len(contract.levels) == 2 else "categories and levels"
    sentence = f"{len(cuts):,} {kind}: {', '.join(parts)}."
    if counted["certified"] > 1:
        together = "all together" if contract.joint else "each by itself"
        sentence += f" The guarantees hold {together}."
    return sentence


def warned(category: str, contract: Contract) -> bool:
    """Say whether a warning of the calibration names a category."""
    named = re.compile(rf"(?<!\w){re.escape(category)}(?!\w)")
    return any(named.search(warning) for warning in contract.warnings)


def meaning(cut: Cut | Bands) -> str:
    """Say what a status means, where there is no guarantee to say it."""
    if isinstance(cut, Bands) and cut.upper is None:
        return "No threshold is known from which on images may be blocked unseen."
    if isinstance(cut, Cut) and cut.n == 0 and cut.threshold is None:
        return "No image is labelled here: there is no threshold."
    if cut.by_hand and cut.status == "estimated":
        return "Placed by hand; nothing is guaranteed."
    return STATUSES[cut.status][2]


def next_steps(cut: Cut) -> tuple[str, ...]:
    """Say what to do for each threshold of a cut that lacks a guarantee, each thing once."""
    thresholds: list[Cut | Bands] = [cut, *([cut.bands] if cut.bands else [])]
    return tuple(dict.fromkeys(t.next_step for t in thresholds if t.status != "certified"))


def all_steps(cut: Cut) -> str:
    """Say what to do about a cut, certified or not."""
    return " ".join(dict.fromkeys((cut.next_step, *next_steps(cut))))


def evidence(cut: Cut | Bands) -> str:
    """Say how many labelled images a guarantee rests on; empty where that is not known."""
    if cut.evidence is None:
        return ""
    flagged = cut.objective.startswith("precision")
    kind = "flagged labelled image" if flagged else "labelled positive"
    return f"The guarantee rests on {cut.evidence:,} {kind}{'' if cut.evidence == 1 else 's'}."


def together(contract: Contract, cut: Cut | Bands) -> str:
    """Say with what confidence a guarantee holds, by itself and with the others."""
    by_itself = percent(_confidence(cut, contract))
    if contract.joint:
        return (
            f"All guarantees of this calibration hold together with "
            f"{percent(contract.confidence)} confidence; to that end this one holds by itself "
            f"with {by_itself}."
        )
    return (
        f"It holds by itself with {by_itself} confidence; that all guarantees of this "
        f"calibration hold together is less certain."
    )


def expected(cut: Cut) -> str:
    """Say how many flags are right and wrong, and what is missed; empty where not known."""
    if cut.expected is None:
        return ""
    right, wrong, missed = (
        cut.expected.true_flags,
        cut.expected.false_flags,
        cut.expected.misses,
    )
    parts = []
    if right is not None and wrong is not None and cut.flags is not None:
        parts.append(
            f"Of the {cut.flags:,} flagged about {amount(right)} are right and about "
            f"{amount(wrong)} are wrong."
        )
    if missed is not None and cut.bands is None:  # with bands, `workload` tells it
        parts.append(f"About {amount(missed)} positives are not flagged.")
    return " ".join(parts)


def workload(part: CutReport, images: int) -> str:
    """Say what each band holds, and what is expected to be wrong in those nobody reviews.

    Parameters
    ----------
    part : CutReport
        A cut with bands.
    images : int
        Of the corpus.

    Returns
    -------
    str
        Counts are of the present corpus.
    """
    allow, review, block = (
        f"{band.images:,} images ({percent(band.images / images)})" for band in part.bands
    )
    bands = part.cut.bands
    assert bands is not None  # the caller asked
    if part.cut.allowing is not None:
        sentence = f"Below {part.cut.allowing:.4f}, {allow} are allowed unseen; from there "
    else:
        sentence = f"{_nothing_allowed(part.cut)} From the lowest score "
    if bands.upper is None:
        sentence += f"on, people have to review {review}. Nothing can be blocked unseen."
    else:
        sentence += (
            f"to {bands.upper:.4f}, people have to review {review}; from {bands.upper:.4f} on, "
            f"{block} are blocked unseen."
        )
    misses = allowed_positives(part.cut)
    if misses is not None:
        sentence += f" About {amount(misses)} positives are among those allowed."
    if bands.wrongly_blocked is not None:
        sentence += f" About {amount(bands.wrongly_blocked)} negatives are among those blocked."
    return sentence


def allowed_positives(cut: Cut) -> Range | None:
    """Return how many positives nobody would look at; None where nothing is allowed unseen."""
    return cut.bands.misses if cut.bands is not None and cut.allowing is not None else None


def unproven(cuts: Sequence[CutReport]) -> bool:
    """Say whether a lower threshold of bands is only proposed."""
    return any(
        part.cut.bands is not None and part.cut.threshold is not None and part.cut.allowing is None
        for part in cuts
    )


def _nothing_allowed(cut: Cut) -> str:
    """Say why people have to look at low scores as well."""
    sentence = f"Nothing is allowed unseen, since {cut.objective} is not certified."
    if cut.threshold is not None:
        sentence += f" The threshold {cut.threshold:.4f} is only proposed."
    return sentence


def quality_words(quality: ProbabilityQuality) -> str:
    """Say how far probabilities can be trusted, from images that they were not fitted to."""
    verdict = "less" if quality.brier < quality.brier_of_base_rate else "not less"
    return (
        f"Out of fold, on {quality.n:,} images: the Brier score is {quality.brier:.3g}, {verdict} "
        f"than the {quality.brier_of_base_rate:.3g} of always saying the base rate; log loss "
        f"{quality.log_loss:.3g}; the expected calibration error, how "
        f"far the rate seen lies from the probability on average, is "
        f"{percent(quality.calibration_error)}."
    )
