r"""How far people agree, with each other and with a threshold.

Every interval treats images as the sample and raters as given. For alpha and kappa images are
drawn with replacement, whole, with all that was said of them, and percentiles of the statistic
are the ends (Efron 1979); draws in which it is undefined are left out. Such intervals are
approximate, and too narrow for a few dozen images. Where nobody disagrees anywhere, no draw can
disagree either; the lower end is then what Wilson's interval leaves possible: with :math:`n`
images, :math:`1 - (1 - w_n) / D_e`, :math:`w_n` the lower end for :math:`n` of :math:`n` and
:math:`D_e` the disagreement expected by chance.

A rate :math:`p` over images of which several things are said has Wilson's interval for the number
of independent ones that would vary as much, :math:`p (1 - p) / v` with

.. math:: v = \sum_u (a_u - p\, m_u)^2 \big/ \big(\sum_u m_u\big)^2

where image :math:`u` agrees in :math:`a_u` of :math:`m_u`; at most as many as were said, and the
number of images where all agree or none (Kish 1965). With one of each image it is Wilson's.

References
----------
Cohen, J. (1968). Weighted kappa. *Psychological Bulletin* 70(4), 213-220.

Davies, M., and Fleiss, J. L. (1982). Measuring agreement for multinomial data. *Biometrics*
38(4), 1047-1051.

Efron, B. (1979). Bootstrap methods: another look at the jackknife. *Annals of Statistics* 7(1),
1-26.

Kish, L. (1965). *Survey Sampling*. Wiley.

Krippendorff, K. (2011). Computing Krippendorff's alpha-reliability. University of Pennsylvania.
"""
