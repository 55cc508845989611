"""Whether labelled images look like a random sample of the corpus."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST = 20
RISK = 1e-4

_MOST_COMPARED = 100_000


def unlikeness(
    labelled: NDArray[np.floating], corpus: NDArray[np.floating], risk: float = RISK
) -> float | None:
    r"""Return how far the scores of labelled images are from the corpus's, if surely at all.

    Parameters
    ----------
    labelled : Float[(n,)]
        Scores of labelled images, in one category.
    corpus : Float[(N,)]
        Scores of all distinct images that they are to stand for.
    risk : float
        How often a random sample may be called unlike, in (0, 1).

    Returns
    -------
    float or None
        The distance of Kolmogorov and Smirnov; None where there are fewer than 20 labelled
        images, or a random sample would be as far off with a probability of at least `risk`.

    Notes
    -----
    .. math:: D = \sup_x |F_n(x) - F_N(x)|

    with the two-sample test's p-value, by the distribution of the one-sample statistic at
    :math:`nN / (n + N)` observations. The test takes both samples for independent. A sample
    drawn without replacement from the corpus itself is nearer to it than that, and ties bring
    both nearer, so that the risk is kept. A corpus of more than 100,000 images is compared by as
    many, drawn at random. Labels that pass need be no random sample: what has no part in the
    score cannot be seen here.

    References
    ----------
    Hodges, J. L. (1958). The significance probability of the Smirnov two-sample test. *Arkiv för
    Matematik* 3, 469-486.
    """
    if len(labelled) < FEWEST or not len(corpus):
        return None
    from scipy.stats import ks_2samp  # slow to import

    if len(corpus) > _MOST_COMPARED:
        corpus = np.random.default_rng(0).choice(corpus, _MOST_COMPARED, replace=False)
    found = ks_2samp(labelled, corpus, method="asymp")
    return float(found.statistic) if found.pvalue < risk else None
