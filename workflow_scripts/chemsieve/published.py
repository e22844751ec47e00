"""Figures of published protocols: what they may be of, and how a configuration names them."""

# Columns of ``metrics`` or values that the report computes, and how a table says each.
MEASURES = {
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R2",
    "train_seconds": "seconds of training",
    "trainable_parameters": "trainable parameters",
    "n_selected": "pool molecules added",
    "mlm_loss": "masked-language loss",
    "rmse_improvement": "RMSE below the adapted model's, %",
}

_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _TEXT}
_RUN = {
    "type": ["object", "null"],
    "properties": {"origin": _TEXT, "method": _TEXT, "selection": _TEXT},
    "additionalProperties": False,
    "required": ["method", "origin", "selection"],
}
_FIGURE = {
    "type": "object",
    "properties": {
        "what": _TEXT,
        "printed": {"type": "number"},
        "measure": {"enum": list(MEASURES)},
        "run": _RUN,
        "leak": {"type": "boolean"},
        "remark": _TEXT,
    },
    "additionalProperties": False,
    "required": ["measure", "printed", "what"],
}
SCHEMA = {
    "type": ["object", "null"],
    "properties": {
        "source": _TEXT,
        "leaks": _TEXTS,
        "differences": _TEXTS,
        "figures": {"type": "array", "items": _FIGURE},
    },
    "additionalProperties": False,
    "required": ["differences", "figures", "leaks", "source"],
}
