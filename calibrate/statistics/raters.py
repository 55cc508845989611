"""What is most probably true, from raters who err each in their own way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Indices = NDArray[np.integer]  # (v votes,)
Posterior = NDArray[np.float64]  # (n images, l levels)

_SMALL = 1e-6
_ROUNDS = 1000


def dawid_skene(
    image: Indices, rater: Indices, level: Indices, n_images: int, n_raters: int, n_levels: int
) -> Posterior:
    r"""Estimate each image's true level, and with it how often each rater errs and how.

    Given the true level :math:`t` of image :math:`i`, rater :math:`r` says level :math:`l` with
    probability :math:`\pi^r_{tl}`, whatever the others say. Expectation maximisation alternates

    .. math::
        p_{it} &\propto \rho_t \prod_{(r,l)\text{ of }i} \pi^r_{tl}, \\
        \pi^r_{tl} &= \frac{1/L + \sum_{i\text{: }r\text{ says }l} p_{it}}
                     {1 + \sum_{i\text{: }r\text{ says anything}} p_{it}}, \qquad
        \rho_t = \frac{1/L + \sum_i p_{it}}{1 + n},

    from the shares of the votes until no :math:`p` moves by more than a millionth. What goes
    beyond Dawid and Skene is one vote, spread evenly over the levels, added to every row: a
    rater who has not yet erred is not taken for infallible.

    Parameters
    ----------
    image, rater, level : Int[(v,)]
        The votes.
    n_images, n_raters, n_levels : int
        How many of each there are.

    Returns
    -------
    Float64[(n_images, n_levels)]
        Probabilities of the levels; those of an image without votes are the prevalences.

    Notes
    -----
    Assumes that raters err independently given the true level, and alike on easy and on hard
    images; where they copy each other or share a bias, the probabilities are too sure. The
    solution is the one nearest to the shares of the votes: most raters must be right more
    often than wrong.

    References
    ----------
    Dawid, A. P., and Skene, A. M. (1979). Maximum likelihood estimation of observer error-rates
    using the EM algorithm. *Applied Statistics* 28(1), 20-28.
    """
    said = sparse.csr_array(
        (np.ones(len(image)), (image, rater * np.int64(n_levels) + level)),
        shape=(n_images, n_raters * n_levels),
    )
    votes = np.bincount(image * np.int64(n_levels) + level, minlength=n_images * n_levels)
    posterior = _shares(votes.reshape(n_images, n_levels).astype(np.float64))
    voted = posterior.sum(axis=1, keepdims=True) > 0
    for _ in range(_ROUNDS):
        before, posterior = posterior, _expect(said, posterior * voted, n_raters)
        if np.abs(posterior - before).max(initial=0) < _SMALL:
            break
    return posterior


def most_probable(posterior: Posterior) -> NDArray[np.bool_]:
    """Mark, per image, the level with the highest probability, or those that tie but for rounding.

    Parameters
    ----------
    posterior : Float64[(n, l)]
        Probabilities.

    Returns
    -------
    Bool[(n, l)]
        At least one per image.
    """
    most: NDArray[np.bool_] = posterior >= posterior.max(axis=1, keepdims=True) - _SMALL
    return most


def _expect(said: sparse.csr_array, posterior: Posterior, n_raters: int) -> Posterior:
    """Estimate errors and prevalences from probabilities of the levels, and these from those."""
    levels = posterior.shape[1]
    errors = (said.T @ posterior).reshape(n_raters, levels, levels) + 1 / levels
    errors /= errors.sum(axis=1, keepdims=True)
    prevalence = posterior.sum(axis=0) + 1 / levels
    logs = said @ np.log(errors).reshape(-1, levels) + np.log(prevalence / prevalence.sum())
    likelihoods = np.exp(logs - logs.max(axis=1, keepdims=True))
    return _shares(likelihoods)


def _shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide each row by its sum; a row of zeros stays one."""
    total = weights.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = weights / np.where(total > 0, total, 1)
    return shares
