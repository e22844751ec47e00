"""A model folder that predicts without the workflow: made from a run, loaded, and applied to files of any length."""
