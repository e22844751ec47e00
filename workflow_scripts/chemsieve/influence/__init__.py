"""Influence of pool molecules on the loss of others: the problem, its Gram matrix, and what follows from them.

The estimators, one module each, are in :mod:`chemsieve.influence.estimators`.
"""
