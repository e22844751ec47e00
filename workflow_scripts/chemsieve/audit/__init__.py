"""The audit of the data, before training: molecules in two places, the source of labels, how pool and target differ.

It reads every label of the target, test molecules included, since a label that was computed from a test molecule can
be found in no other way. What it finds goes to the report, and to the pool's label policy where the configuration has
one; no model is trained, chosen or stopped by it.
"""
