"""Statistics of a study: which differences of error the replicates show, which they rule out, and what would decide.

After Ash et al. 2025, "Practically significant method comparison protocols for machine learning in small molecule drug
discovery" (10.1021/acs.jcim.5c01609). Everywhere an ``errors`` array is (units, configurations): a row is a replicate
(or the mean over the seeds of a split), so that the columns are paired.
"""
