r"""Probabilities for a corpus in which positives are rarer or commoner than among the labels.

References
----------
Saerens, M., Latinne, P., and Decaestecker, C. (2002). Adjusting the outputs of a classifier to
new a priori probabilities: a simple procedure. *Neural Computation* 14(1), 21-41.

Alexandari, A., Kundaje, A., and Shrikumar, A. (2020). Maximum likelihood with bias-corrected
calibration is hard-to-beat at label shift adaptation. *ICML*, 222-232.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from clipcal.calibrate.statistics.bounds import check_rate
from clipcal.calibrate.statistics.inputs import Float64, finite
from clipcal.calibrate.statistics.probability import bounded
from clipcal.errors import CalibrationError


def corpus_prevalence(probabilities: NDArray[np.floating], labelled_prevalence: float) -> float:
    r"""Estimate the rate of positives in the corpus from its probabilities.

    The maximum of the likelihood that Saerens, Latinne and Decaestecker (2002) climb by
    expectation maximisation, in the prevalence :math:`\pi` where labels had :math:`\pi_0`:

    .. math:: L(\pi) = \sum_i \ln\left(\pi \frac{p_i}{\pi_0}
        + (1 - \pi) \frac{1 - p_i}{1 - \pi_0}\right)

    It is concave (Alexandari et al. 2020), so the root of its derivative is found directly; where
    the maximum is at 0 or 1, the answer is half an image away from it, :math:`1/2N` or
    :math:`1 - 1/2N`.

    Parameters
    ----------
    probabilities : Float[(N,)]
        Of the corpus, from a map fitted to labels.
    labelled_prevalence : float
        The prevalence that the map was fitted to, in (0, 1): best the mean of the map's own
        probabilities over the labelled images (with their weights). A map whose mean differs
        from the plain rate, as Platt's does for a handful of positives, would otherwise be read
        as a shift that there is not.

    Returns
    -------
    float
        Prevalence, in (0, 1).

    Raises
    ------
    CalibrationError
        If there are no probabilities, one is NaN or outside [0, 1], or the prevalence is not
        within 0 and 1.

    Notes
    -----
    Assumes that only the prevalence differs: positives score in the corpus as they did among
    the labels, and so do negatives (*label shift*). Labels picked for their scores break this.
    The estimate is no better than the map: where scores hardly tell positives from negatives,
    a small error of calibration becomes a large one of prevalence.
    """
    values = bounded(finite(probabilities))
    if not len(values):
        raise CalibrationError("The corpus has no scored images. Embed some: clipcal embed FOLDER")
    before = check_rate(labelled_prevalence, "labelled prevalence")
    negative = (1 - values) / (1 - before)
    gain = values / before - negative

    def slope(prevalence: float) -> float:
        return float(np.mean(gain / (negative + prevalence * gain)))

    least = 0.5 / len(values)
    if slope(least) <= 0:
        return least
    if slope(1 - least) >= 0:
        return 1 - least
    return float(optimize.brentq(slope, least, 1 - least, xtol=1e-12, rtol=1e-9))


def adjust(
    probabilities: NDArray[np.floating], labelled_prevalence: float, corpus_prevalence: float
) -> Float64:
    r"""Move probabilities from the prevalence of the labels to that of the corpus.

    .. math:: \frac{p'}{1 - p'} = \frac{p}{1 - p}
        \cdot \frac{\pi / (1 - \pi)}{\pi_0 / (1 - \pi_0)}

    Parameters
    ----------
    probabilities : Float[(N,)]
        From a map fitted to labels.
    labelled_prevalence, corpus_prevalence : float
        :math:`\pi_0` and :math:`\pi`, in (0, 1).

    Returns
    -------
    Float64[(N,)]
        Probabilities, within 1e-9 and 1 - 1e-9, in the same order.

    Raises
    ------
    CalibrationError
        If a probability is NaN or outside [0, 1], or a prevalence is not within 0 and 1.
    """
    values = bounded(finite(probabilities))
    before = check_rate(labelled_prevalence, "labelled prevalence")
    now = check_rate(corpus_prevalence, "prevalence of the corpus")
    for_positives, for_negatives = (
        values * (now / before),
        (1 - values) * ((1 - now) / (1 - before)),
    )
    return bounded(for_positives / (for_positives + for_negatives))
