"""What two files of judgements agree and differ in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clipcal.calibrate.statistics.bounds import Estimate


@dataclass(frozen=True, slots=True)
class Difference:
    """One image, as both files see it.

    Attributes
    ----------
    image : str
        As people's file calls it.
    mismatched : tuple of str
        Dimensions whose levels differ; of classes ``("class",)`` or nothing.
    human, predicted : tuple of str
        Of each of these, what people say and what is predicted.
    overall_match : bool or None
        Whether the overall verdicts, or the classes, are the same; None where one is unknown.
    human_overall, predicted_overall : str or None
        The overall verdict, or the class.
    """

    image: str
    mismatched: tuple[str, ...]
    human: tuple[str, ...] = ()
    predicted: tuple[str, ...] = ()
    overall_match: bool | None = None
    human_overall: str | None = None
    predicted_overall: str | None = None


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension of ratings.

    Attributes
    ----------
    n : int
        Images rated in both files.
    agreement : Estimate or None
        How often the levels are the same; None where there are no such images.
    kappa : Estimate or None
        Quadratic weights; None also where one file says the same of every image: kappa is 0 then
        however often they agree, and tells nothing.
    levels : tuple of str
        From low to high.
    confusion : tuple of tuple of int
        Images by people's level (rows) and the predicted one.
    """

    n: int
    agreement: Estimate | None
    kappa: Estimate | None
    levels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class ClassAgreement:
    """One class, of images with one class each.

    Attributes
    ----------
    n : int
        Images that people put in it.
    agreement : Estimate or None
        Recall: the share of these that are predicted to be; None where there are none.
    precision : Estimate or None
        The share of those predicted that people put in it; None where none is.
    confusion : dict of str to int
        Images, by ``both``, ``human_only``, ``predicted_only`` and ``neither``.
    """

    n: int
    agreement: Estimate | None
    precision: Estimate | None
    confusion: dict[str, int]


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many images of people's class were predicted to be of another."""

    human: str
    predicted: str
    n: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything in which two files agree and differ.

    Attributes
    ----------
    kind : str
        ``ratings`` or ``classes``.
    images : tuple of Difference
        Every image that both files know, in the order of people's file.
    dimensions : dict
        By dimension, or by class.
    accuracy : Estimate
        Share of equal levels over all images and dimensions, with an interval that does not take
        those of one image for independent; of classes, share of equal ones.
    kappa : Estimate or None
        Of the same cells; quadratic weights for levels, none for classes. None where one file
        says the same throughout.
    overall_agreement : Estimate or None
        Of the column ``Overall``; None where one of the files has none.
    confusions : tuple of Confusion
        Of classes, the most frequent first.
    worst : str or None
        The class with the lowest recall; of several the one with most images.
    unmatched, ambiguous : tuple of str
        Images of people's file that the other lacks, and that could be several of its own.
    only_predicted : int
        Images of the other file that people's lacks.
    notes : tuple of str
        What was left out or assumed.
    """

    kind: Literal["ratings", "classes"]
    images: tuple[Difference, ...]
    dimensions: dict[str, Dimension] | dict[str, ClassAgreement]
    accuracy: Estimate
    kappa: Estimate | None
    overall_agreement: Estimate | None
    confusions: tuple[Confusion, ...]
    worst: str | None
    unmatched: tuple[str, ...]
    ambiguous: tuple[str, ...]
    only_predicted: int
    notes: tuple[str, ...]
