"""Fine-tuning methods: each module is one, and says which parameters of a regressor training may change.

A module has ``OPTIONS`` (JSON Schema of its options) and ``apply(model, **options)``, which freezes, unfreezes or
injects parameters in place.
"""
