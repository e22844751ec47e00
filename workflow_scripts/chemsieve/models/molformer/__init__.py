"""MoLFormer, natively: the published checkpoint layout and numerics on our own ``transformers`` classes."""
