"""Errors that are shown to the user as one sentence."""


class ChemsieveError(Exception):
    """Something in the user's files or configuration is wrong; the message says what, where, and what to do."""


class InfluenceDivergence(ChemsieveError):
    """An inverse-Hessian recursion grew without bound or left the finite numbers: there is no score to return."""


class CheckpointMismatch(ChemsieveError):
    """A checkpoint does not hold exactly the tensors that the model needs."""
