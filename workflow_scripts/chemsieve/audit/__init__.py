"""The audit of the data, before training: who is in two places, where labels come from, how unlike pool and target are.

It reads every label of the target, test molecules included, since a label that was computed from a test molecule can
be found in no other way. What it finds goes to the report, and to the pool's treatment where the configuration asks
for one; no model is trained, chosen or stopped by it.
"""
