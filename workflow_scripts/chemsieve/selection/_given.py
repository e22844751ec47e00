"""What a strategy may read, from a job's files: each part is read, or computed, when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chemsieve.runtime.job import optional_path, torch_device
from chemsieve.selection import Context
from chemsieve.tables import read_table

if TYPE_CHECKING:
    import pandas as pd


def context(files: Any, spec: dict[str, Any], pool: pd.DataFrame) -> Context:
    """The context of a selection from ``pool``.

    Args:
        files: a job's named inputs, each where it is needed: ``training``, ``validation``, ``influence`` (aggregated
            scores), ``model`` (checkpoint, then the encoder's files), ``gram`` (learning curve, then a matrix and its
            facts per checkpoint).
        spec: with a model, its ``family``, ``dropout``, ``head`` and ``compute``.
    """
    given: dict[str, Any] = {
        name: read_table(path) for name in ("training", "validation") if (path := optional_path(files.get(name)))
    }
    if path := optional_path(files.get("influence")):
        gains = read_table(path).set_index("molecule_id")["expected_gain"]
        given["expected_gain"] = gains.loc[pool["molecule_id"]].to_numpy()
    if files.get("model"):
        from chemsieve.models import backbone, embeddings, prediction, regressor, tokenization

        checkpoint, *encoder_files = files.model
        encoder, device = Path(encoder_files[0]).parent, torch_device(spec)
        model = regressor.restore(
            encoder, spec["family"], "full", {}, checkpoint, dropout=spec["dropout"], head=spec["head"]
        )
        tokenizer = backbone.load_tokenizer(encoder)
        pad_id = tokenization.special_id(tokenizer, "pad")

        def ids(molecules):
            return tokenization.encode(tokenizer, list(molecules["encoder_smiles"]))

        def embed(molecules):
            return embeddings.pooled(model.encoder, ids(molecules), pad_id, device)

        given |= {
            "predictions": lambda: prediction.predict(model.to(device), ids(pool), pad_id, device),
            "predict_passes": lambda count, seed: prediction.predict_passes(
                model, ids(pool), pad_id, count, seed, device
            ),
            "embeddings": lambda: (embed(given["training"]), embed(pool)),
            "validation_embeddings": lambda: embed(given["validation"]),
        }
        if path := optional_path(files.get("unlabelled")):
            given["unlabelled_embeddings"] = lambda: embed(read_table(path))
    if files.get("gram"):
        from chemsieve.influence import gramfile
        from chemsieve.influence.aggregation import learning_rates

        curve, *matrices = files.gram
        pairs = list(zip(matrices[::2], matrices[1::2], strict=True))
        epochs = [int(Path(matrix).parent.name) for matrix, _ in pairs]
        given |= {
            "kernels": lambda: [gramfile.read(*pair)[0] for pair in pairs],
            "gram_labels": lambda: gramfile.read(*pairs[-1])[1],
            **({"design_kernel": lambda: gramfile.read_unlabelled(*pairs[-1])} if files.get("unlabelled") else {}),
            "rates": lambda: list(learning_rates(read_table(curve))[epochs]),
        }
    return Context(**given)
