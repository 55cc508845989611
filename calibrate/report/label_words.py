"""The report's sentences about labels and the people who gave them."""

from __future__ import annotations

from collections.abc import Sequence

from clipcal.calibrate.records import Sampling
from clipcal.calibrate.report.labels import LabelSource
from clipcal.calibrate.statistics.agreement.category import CategoryAgreement
from clipcal.calibrate.statistics.bounds import Estimate

_MOST_NAMED = 5

# Krippendorff, K. (2004). Content Analysis: An Introduction to Its Methodology, 2nd ed.: what to
# rely on, and what to draw tentative conclusions from.
_RELIABLE, _TENTATIVE = 0.8, 0.667


def source_words(source: LabelSource) -> str:
    """Say where the labels on the page come from, in a sentence; empty where there are none."""
    parts = [
        f"{source.filed:,} came with a file" if source.filed else "",
        f"{source.judged:,} were given by {_named(source.raters)} in the review, over HTTP or by "
        f"import"
        if source.judged
        else "",
    ]
    told = [part for part in parts if part]
    return f"Of the labels on this page {_listed(told)}." if told else ""


def changed_words(source: LabelSource, other: Sequence[str]) -> str:
    """Say that the labels are not those that the calibration was fitted to; empty if they are.

    Parameters
    ----------
    source : LabelSource
        What is known of them.
    other : sequence of str
        Names of the cuts that have not as many as the contract counted.
    """
    if source.changed:
        images = [f"{name} ({_images(count)})" for name, count in source.differing.items()]
        of = f", for: {', '.join(images)}" if images else ""
        said = f"The labels have changed since the calibration{of}."
    elif other:
        said = (
            f"There are not as many labels as those that the calibration was fitted to, for: "
            f"{', '.join(other)}."
        )
    else:
        return ""
    return (
        f"{said} The counts, charts and pictures below follow the labels of now; thresholds, "
        f"recall, precision and guarantees are the calibration's."
    )


def sampling_words(sampling: Sampling | None) -> str:
    """Say how the labelled images were chosen, and what follows from it."""
    if sampling is None:
        return (
            "How the labelled images were chosen is not recorded; the guarantees take them for a "
            "random sample of the corpus."
        )
    parts = [
        f"{number:,} {words}"
        for number, words in (
            (sampling.given, "were labelled without a draw and are taken for a random sample"),
            (sampling.audit, "were drawn uniformly at random"),
            (sampling.picked, "were picked for their scores"),
        )
        if number
    ]
    sentence = f"Of the labelled images {_listed(parts)}." if parts else ""
    if sampling.chosen:
        sentence += f" {chosen_words(sampling)}"
    if sampling.picked:
        sentence += (
            " Those picked for their scores are weighted in estimates and back no guarantee; the "
            "counts and curves on this page, which are of the labelled images, count all alike."
        )
    return sentence.strip()


def chosen_words(sampling: Sampling) -> str:
    """Say how many labelled images count in nothing, and since when they will."""
    images = "1 more image was" if sampling.chosen == 1 else f"{sampling.chosen:,} more images were"
    return (
        f"{images} labelled because somebody saw what scores so (flagged, near a threshold, or "
        f"found by a search): such labels count in nothing until a draw takes their images in: "
        f"clipcal suggest"
    )


def uncounted_words(count: int) -> str:
    """Say that labels of one category count in nothing yet; empty where all count."""
    if not count:
        return ""
    labels = "1 label" if count == 1 else f"{count:,} labels"
    return (
        f"Not counted here: {labels} given to images that were chosen for their scores. Only "
        f"pictures show them."
    )


def people_words(agreement: CategoryAgreement) -> str:
    """Say what the raters' agreement means, in a sentence or two."""
    parts = []
    if agreement.alpha is not None:
        parts.append(_reliability(agreement.alpha))
    if agreement.machine_kappa is not None and agreement.ceiling_kappa is not None:
        parts.append(_beside(agreement.machine_kappa, agreement.ceiling_kappa))
    elif agreement.machine is not None and agreement.ceiling is not None:
        parts.append(_beside(agreement.machine, agreement.ceiling))
    return " ".join(parts)


def _reliability(alpha: Estimate) -> str:
    verdict = _verdict(alpha.value)
    if _verdict(alpha.low) == _verdict(alpha.high):
        return verdict
    return f"{verdict} The interval allows for another verdict."


def _verdict(alpha: float) -> str:
    if alpha >= _RELIABLE:
        return f"Raters agree well: alpha reaches {_RELIABLE}, the usual bound for reliable labels."
    if alpha >= _TENTATIVE:
        return (
            f"Raters agree moderately: alpha lies between {_TENTATIVE} and {_RELIABLE}, the "
            f"usual bounds for tentative and for reliable conclusions."
        )
    return (
        f"Raters disagree too much for firm conclusions: alpha lies below {_TENTATIVE}, the usual "
        f"bound even for tentative ones."
    )


def _beside(machine: Estimate, ceiling: Estimate) -> str:
    """Compare by the intervals, which is a cautious test of a difference."""
    if machine.high < ceiling.low:
        return (
            "The thresholds agree with the majority less than a single rater does: there is room "
            "for a better score or more labels."
        )
    if machine.low > ceiling.high:
        return "The thresholds agree with the majority more than a single rater does."
    return (
        "These labels cannot tell whether the thresholds agree with the majority more or less "
        "than a single rater does."
    )


def _named(raters: Sequence[str]) -> str:
    if len(raters) > _MOST_NAMED:
        return f"{len(raters):,} raters"
    return _listed(list(raters))


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
