"""Whether a difference is too small to matter."""

from scipy import stats


def tost(mean: float, standard_error: float, df: float, margin: float) -> float:
    """P value of two one-sided tests that a mean difference lies outside (-margin, margin).

    Schuirmann 1987, 10.1007/BF01068419. All but ``df`` are in the unit of the difference.
    """
    above = stats.t.sf((mean + margin) / standard_error, df)
    below = stats.t.sf((margin - mean) / standard_error, df)
    return float(max(above, below))
