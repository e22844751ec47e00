"""Figures of published protocols: what they may be of."""

from chemsieve.errors import ChemsieveError

# Of one epoch of a run, and how a table says each.
EPOCH_MEASURES = {
    "train_mse": "training MSE",
    "validation_mse": "validation MSE",
    "mlm_train_loss": "masked-language loss in training",
    "mlm_validation_loss": "masked-language loss, held out",
}
# Columns of ``metrics`` or values that the report computes, and how a table says each.
MEASURES = EPOCH_MEASURES | {
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R2",
    "train_seconds": "seconds of training",
    "trainable_parameters": "trainable parameters",
    "n_selected": "pool molecules added",
    "mlm_loss": "masked-language loss",
    "rmse_improvement": "RMSE below the adapted model's, %",
    "gradient_norm": "mean gradient norm",
    "evaluation_seconds": "seconds of an evaluation",
    "evaluated_per_second": "molecules evaluated per second",
}


def check(published: dict | None) -> None:
    """Refuse a figure that names an epoch where its measure has none, or names none where it needs one.

    Raises:
        ChemsieveError: one sentence naming the key.
    """
    for i, figure in enumerate(published["figures"] if published else []):
        measure, key = figure["measure"], f"configuration: published.figures.{i}"
        if measure in EPOCH_MEASURES and "epoch" not in figure:
            raise ChemsieveError(f"{key}: {measure} is of one epoch; say which")
        if measure not in EPOCH_MEASURES and "epoch" in figure:
            raise ChemsieveError(f"{key}: {measure} is of a run, not of an epoch; leave epoch out")
