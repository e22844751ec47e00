"""Encoders and regressors: folders, families, layers, checkpoints, tokens, embeddings."""
