"""Making a model folder from a run: merged, calibrated, and held against the run's own predictions.

Or from two runs, the mean of which is the model: a folder of each in one, calibrated and held against both together.
"""

import importlib.metadata
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from chemsieve import __version__
from chemsieve.baselines._pipeline import Model
from chemsieve.data import chemistry, quality
from chemsieve.deployment import conformal, described, folder, inference, language, mean
from chemsieve.deployment.card import card
from chemsieve.deployment.merging import is_merged, merge
from chemsieve.deployment.neighbours import training_table
from chemsieve.deployment.predictor import Predictor
from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone
from chemsieve.models.frozen import of_folder
from chemsieve.models.prediction import predict_smiles
from chemsieve.models.regressor import Regressor
from chemsieve.runtime.files import write_text
from chemsieve.statistics.evaluation import regression_metrics

PERCENTILE = 5  # of the validation molecules' similarity to training, below which a molecule is out of the domain
# In label standard deviations: rounding of merged weights on any device is far below, other weights far above.
TOLERANCE = 1e-3
_LIBRARIES = (
    *("torch", "transformers", "tokenizers", "safetensors", "scikit-learn"),
    *("rdkit", "numpy", "pandas", "pyarrow"),
)


@dataclass(frozen=True)
class TrainedRun:
    """A run of a language model, to become a model folder.

    Attributes:
        chosen: as :func:`chemsieve.deployment.choice.choose` returns it.
        model: its regressor, restored; :func:`export` merges its adapters in place.
        encoder_folder: what it started from: ``config.json`` and ``tokenizer.json``.
        training: ids of all molecules it was trained on, those of the pool included.
        predictions: its rows of the table ``predictions``. Validation bounds the domain and says how errors go with
            similarity; a half of the test molecules calibrates the interval, the other half says what it holds.
    """

    chosen: dict
    model: Regressor
    encoder_folder: str | Path
    training: list[str]
    predictions: pd.DataFrame


@dataclass(frozen=True)
class DescribedRun:
    """A run of a descriptor model, to become a model folder.

    Attributes:
        chosen, encoder_folder, training, predictions: as those of a :class:`TrainedRun`; the folder is that of the
            study's encoder before any adaptation.
        name: of the model's module.
        model: fitted as in the run.
        features: number of columns of each kind of features, in their order.
    """

    chosen: dict
    name: str
    model: Model
    features: dict[str, int]
    encoder_folder: str | Path
    training: list[str]
    predictions: pd.DataFrame


def export(
    target: str | Path,
    run: TrainedRun,
    molecules: pd.DataFrame,
    spec: dict,
    data: dict[str, dict[str, str]],
    device: torch.device,
) -> dict:
    """Write the model folder ``target`` of a language model.

    Args:
        molecules: table ``molecules``.
        spec: ``study``, ``target`` (label, name, unit), ``family``, ``method``, ``options``, ``dropout``, ``head``,
            ``averaged`` (writings, draws), ``max_tokens``, ``stereo``, ``unknown_tokens``, ``standardise``, and of the
            section ``predict`` what concerns a model.
        data: ``file`` (its name) and ``sha256`` of the target and the pool.

    Returns:
        The facts that ``chemsieve.json`` holds.

    Raises:
        ChemsieveError: the folder would predict otherwise than the run did, or there are too few test molecules.
    """
    model = merge(run.model).cpu()

    def write_model(place: Path) -> None:
        language.write(place, model, backbone.read_config(run.encoder_folder))

    own = {
        "format": folder.FORMAT,
        **{key: spec[key] for key in ("family", "method", "options", "dropout", "head", "averaged")},
    }
    own["merged"] = is_merged(model)
    own["uncertainty"] = {"kind": inference.spread_kind(model, spec["predict"]["uncertainty"])}
    return _folder(Path(target), run, write_model, own, molecules, spec, data, device, float(model.label_scale))


def export_described(
    target: str | Path,
    run: DescribedRun,
    molecules: pd.DataFrame,
    spec: dict,
    data: dict[str, dict[str, str]],
    device: torch.device,
) -> dict:
    """Write the model folder ``target`` of a descriptor model; arguments, result and errors as of :func:`export`.

    ``spec`` has no ``method``, ``options``, ``dropout`` and ``averaged``, which are of language models.
    """
    frozen = of_folder(run.encoder_folder, spec["family"], device) if "embeddings" in run.features else None

    def write_model(place: Path) -> None:
        config = backbone.read_config(run.encoder_folder)
        described.write(place, run.name, run.model, run.features, frozen, family=spec["family"], config=config)

    own = {"format": folder.DESCRIPTORS, "method": run.name, "features": list(run.features)}
    own |= {"options": run.model.options, "uncertainty": {"kind": "none"}}
    known = molecules.set_index("molecule_id")["label"]
    spread = float(known.loc[run.training].std(ddof=0))
    return _folder(Path(target), run, write_model, own, molecules, spec, data, device, spread)


def export_mean(
    target: str | Path,
    trained: TrainedRun,
    fitted: DescribedRun,
    molecules: pd.DataFrame,
    spec: dict,
    data: dict[str, dict[str, str]],
    device: torch.device,
) -> dict:
    """Write the model folder ``target`` of the mean of two runs of one split; the rest is as of :func:`export`.

    Each run becomes a whole model folder in it, calibrated by itself; the mean is calibrated by its own errors.
    """
    target, label = Path(target), spec["target"]["label"]
    runs = _aligned(trained.predictions, fitted.predictions)
    both = runs[0].assign(prediction=np.mean([run["prediction"] for run in runs], axis=0))
    folder.empty(target)
    given = molecules, spec, data, device
    made = {
        "language": export(target / "language", trained, *given),
        "descriptors": export_described(target / "descriptors", fitted, *given),
    }
    training = sorted(set(trained.training) | set(fitted.training))
    of_the_pool = int((molecules.set_index("molecule_id").loc[training, "source"] == "pool").sum())
    facts = {
        "format": folder.MEAN,
        "members": [mean.entry(target, name, one) for name, one in made.items()],
        **{key: made["language"][key] for key in ("chosen", "study", "target", "input", "data", "versions")},
        "training": {"molecules": len(training), "of_the_pool": of_the_pool},
        "metrics": {fold: _metrics(both[both["fold"] == fold]) for fold in ("validation", "test")},
        "uncertainty": {"kind": mean.SPREAD},
        **_uncalibrated(spec["predict"]),
    }
    predictor = folder.assemble(target, facts, device)
    by_id = molecules.set_index("molecule_id", drop=False)
    smiles = list(by_id.loc[both["molecule_id"], "smiles"])
    answers = predictor.predict(smiles)
    ours = answers[label].to_numpy(float)
    theirs = [run["prediction"].to_numpy() for run in runs]
    if spec["averaged"]["writings"] > 1:
        # Its folder draws other SMILES than the run did; held against the run already, it stands for it.
        theirs[0] = folder.load(target / "language", device).predict(smiles)[label].to_numpy(float)
    _compare(ours, np.mean(theirs, axis=0), float(by_id.loc[fitted.training, "label"].std(ddof=0)))
    _calibrate(facts, both, ours, answers["similarity"].to_numpy(float))
    facts["noise"] = noise_of(molecules)
    write_text(target / folder.CARD, card(facts))
    folder.seal(target, facts)
    return facts


def _aligned(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions of two runs, those of the second in the order of the first.

    Raises:
        ChemsieveError: they are not of the same molecules.
    """
    keys = ["fold", "molecule_id"]
    one, other = first.set_index(keys), second.set_index(keys)
    if set(one.index) != set(other.index):
        raise ChemsieveError("export: the runs did not predict the same molecules, so that they have no mean")
    return first, other.loc[one.index].reset_index()


def _metrics(predictions: pd.DataFrame) -> dict[str, float | None]:
    """Metrics of a model folder, of rows of the table ``predictions``."""
    return _of_folder(regression_metrics(predictions["label"].to_numpy(), predictions["prediction"].to_numpy()))


def _folder(
    target: Path,
    run: TrainedRun | DescribedRun,
    write_model: Callable[[Path], None],
    own: dict,
    molecules: pd.DataFrame,
    spec: dict,
    data: dict[str, dict[str, str]],
    device: torch.device,
    scale: float,
) -> dict:
    """A whole folder, held against the run's predictions; ``own`` are facts of its kind, ``scale`` the label's."""
    by_id = molecules.set_index("molecule_id", drop=False)
    tokenizer = backbone.load_tokenizer(run.encoder_folder)
    files = folder.write(target, write_model, tokenizer, training_table(by_id.loc[run.training]))
    facts = _facts(run, spec, own) | {"data": data, "files": files}
    predictor = folder.assemble(target, facts, device)
    # From the SMILES as given, the way that a user's will go.
    given = list(by_id.loc[run.predictions["molecule_id"], "smiles"])
    answers = predictor.predict(given)
    ours = answers[spec["target"]["label"]].to_numpy(float)
    _compare(*_both_ways(predictor, ours, given, by_id, run.predictions), scale)
    _calibrate(facts, run.predictions, ours, answers["similarity"].to_numpy(float))
    facts["noise"] = noise_of(molecules)
    write_text(target / folder.CARD, card(facts))
    folder.seal(target, facts)
    return facts


def _facts(run: TrainedRun | DescribedRun, spec: dict, own: dict) -> dict:
    """What is known of the folder before its own predictions are."""
    chosen, settings = run.chosen, spec["predict"]
    return {
        "run_id": chosen["run_id"],
        "chosen": settings["model"],
        **{key: chosen.get(key) for key in ("choice", "aimed", "surpassed")},
        **{key: spec[key] for key in ("study", "target")},
        **own,
        "training": {"molecules": len(run.training), "of_the_pool": int(chosen["n_selected"])},
        "metrics": {fold: _of_folder(row) for fold, row in (("validation", chosen), ("test", chosen["test"]))},
        "input": {
            "stereo": spec["stereo"],
            "unknown_tokens": spec["unknown_tokens"],
            "standardise": spec.get("standardise", chemistry.NONE),
            "max_tokens": backbone.token_limit(run.encoder_folder, spec["family"], spec["max_tokens"]),
        },
        "uncertainty": {**own["uncertainty"], "passes": settings["passes"], "seed": settings["seed"]},
        **_uncalibrated(settings),
        "versions": {"chemsieve": __version__} | {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def _uncalibrated(settings: dict) -> dict:
    """Facts about interval and domain, until these are known: see :func:`_calibrate`."""
    return {
        "interval": {"coverage": settings["coverage"], "half_width": 0.0},
        "domain": {"similarity": 0.0, "percentile": PERCENTILE},
    }


def _calibrate(facts: dict, predictions: pd.DataFrame, ours: np.ndarray, similarity: np.ndarray) -> None:
    """Set the domain's bound by the validation molecules, and the interval by test molecules.

    Nothing that was trained, stopped, selected or chosen has looked at these.

    Args:
        ours, similarity: the folder's predictions and similarities, (molecules,), of the rows of ``predictions``.
    """
    errors = np.abs(predictions["label"].to_numpy() - ours)
    validation, test = ((predictions["fold"] == fold).to_numpy() for fold in ("validation", "test"))
    trend = conformal.Trend.of(errors[validation], similarity[validation])
    names = list(predictions["molecule_id"][test])
    given = names, facts["interval"]["coverage"], similarity[test], trend
    facts["interval"] |= conformal.calibrated(errors[test], *given).facts()
    facts["domain"]["similarity"] = float(np.percentile(similarity[validation], PERCENTILE))


def noise_of(molecules: pd.DataFrame) -> dict | None:
    """The noise of the target's labels, of repeats in the table ``molecules``; None where there are none."""
    found = quality.noise(molecules[molecules["source"] == "target"])
    if found is None:
        return None
    return {"deviation": found.deviation, "molecules": found.molecules, "repeats": found.repeats}


def _both_ways(
    predictor: Predictor, ours: np.ndarray, given: list[str], molecules: pd.DataFrame, predictions: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """What must be equal if the folder predicts as the run did: the folder's side and the run's, (values,) each.

    Where predictions are averaged over random SMILES, the folder draws them by molecule and the run by place. Then the
    folder's weights must give the run's predictions with the SMILES that the run drew, and the folder must read a
    user's SMILES as the run read them where it averages over no others.
    """
    if not isinstance(predictor, language.LanguagePredictor):
        return ours, predictions["prediction"].to_numpy()
    facts, label = predictor.facts, predictor.facts["target"]["label"]
    averaged = facts["averaged"]
    several = averaged["writings"]  # SMILES of a molecule
    if several == 1:
        return ours, predictions["prediction"].to_numpy()

    def as_in_the_run(count: int) -> np.ndarray:
        found = np.empty(len(predictions))
        for fold in ("validation", "test"):
            of_fold = (predictions["fold"] == fold).to_numpy()
            smiles = list(molecules.loc[predictions["molecule_id"][of_fold], "encoder_smiles"])
            tools = predictor.model, predictor.tokenizer
            found[of_fold] = predict_smiles(*tools, smiles, count, averaged["draws"], predictor.device)
        return found

    averaged["writings"] = 1
    alone = predictor.predict(given)[label].to_numpy(float)
    averaged["writings"] = several
    return (
        np.concatenate([as_in_the_run(several), alone]),
        np.concatenate([predictions["prediction"].to_numpy(), as_in_the_run(1)]),
    )


def _of_folder(row: dict) -> dict[str, float | None]:
    """The metrics that the facts of a model folder have, of a fold's."""
    return {key: _number(row[key]) for key in ("rmse", "mae", "r2", "spearman")}


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _compare(ours: np.ndarray, theirs: np.ndarray, scale: float) -> None:
    """Stop where the folder does not predict what the run did."""
    difference = float(np.max(np.abs(ours - theirs)))
    logging.getLogger(__name__).info("largest difference to the run's own predictions: %.1e label units", difference)
    if not difference <= TOLERANCE * scale:
        raise ChemsieveError(
            f"export: the model folder's predictions differ from the run's by up to {difference:.3g} label units"
        )
