"""The model card: what a model folder is, what it was measured to do, and what it is not for."""

from chemsieve.data.acceptance import FLAG
from chemsieve.deployment.choice import BEST, BEST_LANGUAGE_MODEL, HANDICAP, MEAN
from chemsieve.deployment.conformal import NARROWEST, WIDEST

_SPREADS = {
    "dropout": "the standard deviation over {passes} networks thinned by the dropout of its training (seed {seed})",
    "features": "the standard deviation over {passes} draws of the random features of its linear attention",
    "none": "missing: the model has neither dropout nor random features",
    "members": "the standard deviation between the two models, which says how far they disagree",
}
_BY_VALIDATION = (BEST, BEST_LANGUAGE_MODEL, MEAN)
_FEATURES = {
    "descriptors": "RDKit descriptors",
    "morgan": "log counts of Morgan fingerprints (radius 2, 2,048 columns)",
    "embeddings": "the output of the study's encoder before any adaptation",
}
_PLAIN = ("full", "by_name", "linear_probe", "wise_ft")  # methods after which nothing is there to merge


def card(facts: dict) -> str:
    """Markdown from the facts of ``chemsieve.json``, and from nothing else."""
    sections = (_model, _data, _measured, _columns, _limits)
    return "\n".join(line for section in sections for line in (*section(facts), ""))


def _unit(facts: dict) -> str:
    return f" {facts['target']['unit']}" if facts["target"]["unit"] else ""


def _model(facts: dict) -> list[str]:
    return [
        f"# A model of {facts['target']['name']}",
        "",
        *(_members(facts) if _mean(facts) else _run(facts)),
        "",
        "```",
        "python -m chemsieve.predict FOLDER molecules.csv predictions.csv --smiles smiles",
        "```",
    ]


def _run(facts: dict) -> list[str]:
    return [
        f"Run `{facts['run_id']}` of the study `{facts['study']}`: {_kind(facts)}.",
        "",
        _chosen(facts),
        *_surpassed(facts),
    ]


def told(choice: dict) -> str:
    """How a configuration was found among others, in one sentence without its full stop; of one, what it has."""
    splits = "on the study's one split" if choice["splits"] == 1 else f"in the mean of {choice['splits']} splits"
    error = f"validation RMSE {splits} ({choice['rmse']:.3f})"
    if choice["configurations"] == 1:
        return f"`{choice['configuration']}` has this {error}"
    return f"of {choice['configurations']} configurations `{choice['configuration']}` is the best by its {error}"


def _chosen(facts: dict) -> str:
    """By which rule the run became the model."""
    choice, wanted = facts.get("choice"), facts["chosen"]
    part = "It is one of the two models of which `predict.model: mean` makes one. " if wanted == MEAN else ""
    if not choice:
        return part.strip() or "It was named by the user."
    member = (
        "Errors on different splits are of different molecules and do not compare, so the run is that of the first "
        "split, and of several seeds there the one with the lowest validation RMSE."
        if choice["splits"] > 1
        else "Of several seeds the run is the one with the lowest validation RMSE; other splits would say more."
    )
    if wanted not in _BY_VALIDATION:
        return f"Its configuration was named by the user: {told(choice)}. {member}"
    found = f"{part}It was chosen by validation: {told(choice)}. {member}"
    if other := choice["passed_over"]:
        found += (
            f" `{other['configuration']}` has {other['rmse']:.3f}, but its pool molecules were selected to lower that "
            f"very error, which counts higher by {HANDICAP:.0%} therefore; `predict.model: {other['configuration']}` "
            "takes it all the same."
        )
    return found


def _members(facts: dict) -> list[str]:
    """The two models of a mean, and whether it is better than each."""
    own, unit = facts["metrics"]["validation"]["rmse"], _unit(facts)
    errors = {member["folder"]: member["metrics"]["validation"]["rmse"] for member in facts["members"]}
    best = min(errors, key=errors.__getitem__)
    return [
        f"The mean of two runs of one split of the study `{facts['study']}`: of its best configuration of a language "
        "model and its best of a descriptor model, by mean validation RMSE. Their weights are fitted to nothing. "
        "Each is a model folder that also predicts alone.",
        "",
        *(
            f"* `{member['folder']}/`, weight {member['weight']:g}: run `{member['run_id']}`, {_kind(member)}. "
            f"Validation RMSE {errors[member['folder']]:.3f}{unit}."
            for member in facts["members"]
        ),
        "",
        f"The mean has a validation RMSE of {own:.3f}{unit}: "
        + (
            "lower than both." if own < errors[best] else f"**not lower than `{best}/` alone**, which may serve better."
        ),
    ]


def _mean(facts: dict) -> bool:
    """Whether the model is the mean of two."""
    return "members" in facts


def _kind(facts: dict) -> str:
    """What the model is, in words."""
    if _described(facts):
        features = " and ".join(_FEATURES[name] for name in facts["features"])
        return (
            f"the descriptor model {facts['method']} (`config.json` has its options) on {features}. It takes the "
            "molecules that the study's encoder reads, since it was measured on no others"
        )
    return f"an encoder of the family {facts['family']} with a linear head, fine-tuned by the method {_method(facts)}"


def _method(facts: dict) -> str:
    """The fine-tuning method, in words."""
    name = facts["method"]
    if name in _PLAIN:
        return name
    tuner = f", {facts['options'].get('tuner', 'lora')}" if name == "peft" else ""
    kept = "merged into the weights" if facts.get("merged", True) else "whose adapters stand beside the weights"
    return f"{name}{tuner}, {kept}"


def _described(facts: dict) -> bool:
    """Whether the model is a descriptor model."""
    return "features" in facts


def _settled(facts: dict) -> str:
    """What the validation fold settled within the run, in words."""
    if _mean(facts):
        return "the language model's epoch and the descriptor model's options"
    return "the model's options" if _described(facts) else "the epoch"


def _data(facts: dict) -> list[str]:
    training = facts["training"]
    kept = " and ".join(f"`{member['folder']}/training.parquet`" for member in facts.get("members", ()))
    without = [
        {"language": "language", "descriptors": "descriptor"}[member["folder"]]
        for member in facts.get("members", ())
        if member["run_id"].endswith("/none")
    ]
    alone = f", which the {without[0]} model does not use" if without and training["of_the_pool"] else ""
    return [
        "## Data",
        "",
        f"Trained on {training['molecules']:,} molecules ({kept or '`training.parquet`'}), "
        f"{training['of_the_pool']:,} of them selected from the pool{alone}. SHA-256 of the files that the study read:",
        "",
        *(f"* {role}, `{one['file']}`: `{one['sha256']}`" for role, one in facts["data"].items()),
    ]


def _measured(facts: dict) -> list[str]:
    unit = _unit(facts)
    return [
        "## Measured",
        "",
        f"| fold | RMSE{unit and ' (' + facts['target']['unit'] + ')'} | MAE | R2 | Spearman |",
        "|---|---|---|---|---|",
        *(
            f"| {fold} | " + " | ".join(_figure(row[key]) for key in ("rmse", "mae", "r2", "spearman")) + " |"
            for fold, row in facts["metrics"].items()
        ),
        "",
        _flattered(facts),
        *_noise(facts),
    ]


def _flattered(facts: dict) -> str:
    """What the validation fold has settled, so that its errors are too small."""
    parts = [_settled(facts) + ("" if _described(facts) or _mean(facts) else " that was kept")]
    if facts.get("aimed"):
        parts.append("the molecules of the pool, which were selected to lower its error")
    if facts["chosen"] in _BY_VALIDATION:
        parts.append(("these configurations" if _mean(facts) else "this configuration") + " among others")
    said = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"The validation fold chose {said}, so that its errors flatter."


def _noise(facts: dict) -> list[str]:
    """What no error can be below, where labels were measured twice."""
    if not (found := facts.get("noise")):
        return []
    return [
        "",
        f"The labels' own noise is about {found['deviation']:.3g}{_unit(facts)} ({found['repeats']:,} measurements of "
        f"{found['molecules']:,} molecules): no model can have a test RMSE much below that.",
    ]


def _columns(facts: dict) -> list[str]:
    label, interval, domain = facts["target"]["label"], facts["interval"], facts["domain"]
    spread = _spread(facts)
    return [
        "## What a prediction comes with",
        "",
        f"* `{label}_low`, `{label}_high`: the prediction plus and minus {_width(facts)}, a split conformal interval "
        f"of {interval['coverage']:.0%} from {interval['molecules']:,} test molecules, drawn at random, which neither "
        f"training, {_settled(facts)}, a selection nor the choice of the model has looked at. It holds for molecules "
        f"exchangeable with them; for molecules of another kind nothing is promised. {_coverage(interval)}",
        f"* `{label}_unc`: {spread}",
        "* `nearest_training`, `nearest_training_identifier`, `nearest_training_smiles`, `similarity`: the most "
        "similar training molecule (Tanimoto, ECFP4, 2,048 bits).",
        f"* `in_domain`: whether that similarity is at least {domain['similarity']:.3f}, which "
        f"{100 - domain['percentile']}% of the validation molecules reach, and the encoder reads the molecule whole.",
        "* `same_molecule`: a training molecule with the same first block of the InChIKey, so that its label was seen.",
        "* `unread`: parts of the SMILES that the encoder does not know or its tokenizer passes over, in words; "
        + (
            "a molecule with such is predicted as something else, and is out of the domain."
            if facts["input"].get("unknown_tokens") == FLAG
            else "a molecule with such is refused."
        ),
        "* `reason`: why a row has no prediction: `unparsable`, `dummy_atom` (an atom stands for another group), "
        f"`too_long` (more than {facts['input']['max_tokens']} tokens), `unknown_token` (see `unread`), `not_finite`, "
        "or `field_count` (a row with a field too few or too many).",
    ]


def _width(facts: dict) -> str:
    """Half the width of the interval, and how it goes with similarity."""
    interval, unit = facts["interval"], _unit(facts)
    width = f"{interval['half_width']:.4g}{unit}"
    if not interval.get("slope"):
        return width
    return (
        f"{width} for a molecule of the similarity {interval['centre']:.2f}, and {interval['slope'] / 10:.0%} of that "
        f"more for each 0.1 of similarity less (at least {NARROWEST:g} and at most {WIDEST:g} times as much), since "
        "errors of validation molecules grow so"
    )


def _coverage(interval: dict) -> str:
    """How many molecules the interval holds that did not calibrate it."""
    checked, covered = interval["test_molecules"], interval["test_covered"]
    if not checked:
        return "No test molecule was left to check it on."
    low, high = interval["test_share"]
    return (
        f"It holds {covered:,} of the {checked:,} other test molecules ({covered / checked:.0%}; with 95 % confidence "
        f"between {low:.0%} and {high:.0%})."
    )


def _spread(facts: dict) -> str:
    if _described(facts):
        return "empty: a descriptor model gives one prediction, and no spread that would be worth its name."
    return (
        f"{_SPREADS[facts['uncertainty']['kind']].format(**facts['uncertainty'])}. It is no error bar: it is not "
        "calibrated."
    )


def _stereo(facts: dict) -> list[str]:
    reads = facts["input"]["stereo"]
    if _described(facts) or _mean(facts):
        seen = reads and (_mean(facts) or "embeddings" in facts["features"])  # of a mean, the language model reads it
        return [] if seen else ["* It sees next to nothing of stereochemistry: do not compare stereoisomers by it."]
    if reads:
        return []
    return ["* It reads no stereochemistry: stereoisomers get the same prediction."]


def _standardised(facts: dict) -> list[str]:
    how = {"parent": "the largest fragment, neutralised", "tautomer": "the canonical tautomer of the neutral parent"}
    said = how.get(facts["input"].get("standardise"))
    return [f"* It reads {said} in place of each molecule (RDKit's MolStandardize)."] if said else []


def _limits(facts: dict) -> list[str]:
    return [
        "## Limits",
        "",
        "* Meant for molecules like those it was trained on, to order and to filter candidates for measurement.",
        "* Not for decisions on safety, toxicity or dose.",
        *_standardised(facts),
        *_stereo(facts),
        *(
            f"* Predictions{' of the language model' * _mean(facts)} are averaged over {one['averaged']['writings']} "
            "SMILES of each molecule."
            for one in facts.get("members", [facts])
            if not _described(one) and one["averaged"]["writings"] > 1
        ),
    ]


def _surpassed(facts: dict) -> list[str]:
    """That a descriptor model is better, where one is."""
    if not (other := facts["surpassed"]):
        return []
    return [
        "",
        f"**A descriptor model is better**: in the mean of the splits `{other['configuration']}` has a validation RMSE "
        f"of {other['rmse']:.3f}, and this model's configuration {other['own']:.3f}. `predict.model: best` takes the "
        "configuration with the lowest.",
    ]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
