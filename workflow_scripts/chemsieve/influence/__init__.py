"""Influence estimators: each module is one way to apply the inverse Hessian.

A module has ``OPTIONS`` (JSON Schema of its options) and ``solve(problem, vector, **options) -> Solution``.
"""
