"""What a training costs whatever machine it runs on: floating-point operations, by tokens and parameters."""


def training_flops(tokens: float, total: float, trained: float) -> float:
    """Operations of a training that passes ``tokens`` through a model.

    By Kaplan et al. 2020 (2001.08361): two a token and parameter forwards, two backwards through the activations, and
    two more for the gradient of each parameter that is trained. It errs to the large side: embeddings are looked up and
    cost little, and nothing goes back through the layers below the lowest that is trained.

    Args:
        tokens: over all epochs.
        total, trained: parameters of the model, and those of them that training changes.
    """
    return tokens * (4 * total + 2 * trained)
