"""Whether a configuration's values, each of which may be, agree with each other and with the files that they name.

Each check raises ``ChemsieveError`` with one sentence that names the key.
"""

import math
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

from chemsieve import selection, uses
from chemsieve.data import measured
from chemsieve.data.reading import MOLECULES, check_encoding, check_molecules, check_table
from chemsieve.errors import ChemsieveError
from chemsieve.influence import estimators
from chemsieve.models.bundled import BUNDLED
from chemsieve.study.effective import USE_KEYS, all_strategies, module_of, options_of, pool_is_labelled
from chemsieve.study.mistakes import check_name
from chemsieve.study.unlabelled import needs_labels
from chemsieve.uses import AUTO, MIXED

Json = dict[str, Any]


def check_finite(value: object, path: str = "") -> None:
    """Refuse YAML's .nan and .inf, which JSON Schema lets pass as numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ChemsieveError(f"configuration: {path}: {value} is not a finite number")
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        check_finite(part, f"{path}.{key}".strip("."))


def check_paths(config: Json) -> None:
    """Snakemake must take each path for what it is."""
    paths = {
        f"{section}.{key}": config[section][key] or ""
        for section, key in (
            ("target", "path"), ("pool", "path"), ("predict", "input"), ("encoder", "path"), ("encoder", "tokenizer"),
            ("pretrain", "corpus"),
        )
    }  # fmt: skip
    chosen = config["pretrain"]
    paths |= {f"pretrain.exclude[{number}].path": file["path"] for number, file in enumerate(chosen["exclude"])}
    paths |= {f"pretrain.targets.{name}.path": table["path"] for name, table in chosen["targets"].items()}
    if teacher := config["mlm"]["teacher"]:
        paths["mlm.teacher.path"] = teacher["path"]
    if unlabelled := config["target"]["unlabelled"]:
        paths["target.unlabelled.path"] = unlabelled["path"]
    for key, path in paths.items():
        if set("{}") & set(path):
            raise ChemsieveError(
                f"configuration: {key}: {path!r} has braces, which Snakemake reads as wildcards; rename the file"
            )
        if not path.isprintable():
            raise ChemsieveError(
                f"configuration: {key}: {path!r} has characters that cannot be printed; rename the file"
            )


def check_references(config: Json) -> None:
    """Names in lists must be entries; strategies must have what they need."""
    strategies = config["selection"]["strategies"]
    for section, key in (
        ("influence", "estimators"), ("selection", "strategies"), ("grid", "methods"), ("baselines", "methods"),
        ("use", "uses"),
    ):  # fmt: skip
        for name in config[section]["run"]:
            check_name(f"{section}.run", name, list(config[section][key]))
    for section, key in (("grid", "selections"), ("selection", "rank")):
        for name in config[section][key]:
            check_name(f"{section}.{key}", name, list(strategies))
    for name in config["baselines"]["selections"] or []:
        check_name("baselines.selections", name, list(strategies))
        if name not in all_strategies(config):
            raise ChemsieveError(
                f"configuration: baselines.selections: the study does not select by {name!r}; add it to selection.run"
            )
    check_name("selection.measure_next", config["selection"]["measure_next"], list(strategies))
    if "full" in config["grid"]["run"]:
        raise ChemsieveError("configuration: grid.run: 'full' is fine-tuned on every selection anyway; leave it out")
    for name in config["tuning"]["run"] or []:
        check_name("tuning.run", name, ["full", *config["grid"]["run"]])
    for name in config["influence"]["run"]:
        _check_replay(config, name)
    for name in dict.fromkeys([*all_strategies(config), config["selection"]["measure_next"]]):
        _check_strategy(config, name)


def _check_replay(config: Json, name: str) -> None:
    """An estimator that differentiates a training wants one of the whole model, head included, from the first step."""
    module = estimators.load(name)
    if not module.REPLAYS:
        return
    if config["finetune"]["head"]["kernel"]:
        raise ChemsieveError(
            f"configuration: influence.run: {name!r} differentiates the training of the head, and "
            "finetune.head.kernel is solved for; leave it out, or set finetune.head.kernel to false"
        )
    options = config["influence"]["estimators"][name]
    section = options.get("replay", module.OPTIONS["replay"]["default"])
    if (config["finetune"] | config[section]["training"])["unfreeze"] is not None:
        raise ChemsieveError(
            f"configuration: influence.run: {name!r} differentiates the training of {section}.training, and there all "
            f"layers are to be trained from the first step; set unfreeze to null there"
        )


def _check_strategy(config: Json, name: str) -> None:
    """A strategy has a budget unless it is a control, and scores to select by where it needs them."""
    entry, chosen = config["selection"]["strategies"][name], config["selection"]
    module = selection.load(module_of(entry, name, "strategy"))
    if module.BUDGET and "budget" not in entry:
        raise ChemsieveError(f"configuration: selection.strategies.{name}: it needs a budget")
    if not module.BUDGET and "budget" in entry:
        raise ChemsieveError(f"configuration: selection.strategies.{name}: a control has no budget")
    if "after" in entry:
        _check_after(config, name, module.BUDGET)
    if "influence" not in module.NEEDS:
        return
    for key, listed in (("estimator", "run"), ("origin", "origins")):
        if chosen[key] not in config["influence"][listed]:
            raise ChemsieveError(f"configuration: selection.{key}: {chosen[key]!r} is not in influence.{listed}")


def _check_after(config: Json, name: str, has_budget: bool) -> None:
    """What goes before a strategy leaves something out, and follows from nothing that went before."""
    strategies, path = config["selection"]["strategies"], f"selection.strategies.{name}.after"
    before = strategies[name]["after"]
    check_name(path, before, list(strategies))
    if not has_budget and module_of(strategies[name], name, "strategy") == "none":
        raise ChemsieveError(f"configuration: {path}: {name!r} chooses nothing")
    if "budget" not in strategies[before]:
        raise ChemsieveError(f"configuration: {path}: {before!r} has no budget, so that it leaves nothing out")
    if "after" in strategies[before]:
        raise ChemsieveError(f"configuration: {path}: {before!r} has an `after` itself; one step is all there is")


def check_uses(config: Json) -> None:
    """Uses can be told apart, and one that has an epoch without the pool has epochs to divide."""
    chosen = config["use"]
    if MIXED not in chosen["run"]:
        raise ChemsieveError(f"configuration: use.run: the others are compared with {MIXED!r}; add it")
    others = [name for name in chosen["run"] if name != MIXED]
    if others and config["selection"]["start"] == "regressor":
        raise ChemsieveError(
            f"configuration: use.run: {others[0]!r} trains from the encoder, and selections continue a regressor; set "
            "selection.start: encoder, or leave it out"
        )
    if others and config["finetune"]["head"]["kernel"]:
        raise ChemsieveError(
            f"configuration: use.run: {others[0]!r} needs a trained head, and finetune.head.kernel is solved for; take "
            f"{MIXED!r} alone, or finetune.head.kernel: false"
        )
    for name, entry in chosen["uses"].items():
        module = module_of(entry, name, "use")
        if name == "none":
            raise ChemsieveError("configuration: use.uses.none: it is the name of leaving the pool out; give another")
        if name == MIXED != module:
            raise ChemsieveError(f"configuration: use.uses.{MIXED}: it is the use of that name and no other")
        if name in chosen["run"] and module == "then_target" and config["finetune"]["epochs"] < 2:
            raise ChemsieveError(
                f"configuration: use.run: {name!r} needs two epochs, one with the pool and one without it, and "
                "finetune.epochs is 1"
            )


def check_described_uses(config: Json) -> None:
    """Descriptor models can follow the uses that they are to be fitted in."""
    entries = config["use"]["uses"]
    for name in config["baselines"]["uses"]:
        check_name("baselines.uses", name, list(entries))
        module, options = module_of(entries[name], name, "use"), options_of(entries[name], USE_KEYS)
        if module != AUTO and uses.load(module).form(**options) is None:
            raise ChemsieveError(
                f"configuration: baselines.uses: {name!r} is a way of training in steps, which a descriptor model has "
                "not; take weighted, own_head or auto"
            )


def check_pool_labels(config: Json) -> None:
    """Labels that are used have a column; a list of what to measure can be made without those that are not.

    What else asks for labels that are not used has stepped aside: :mod:`chemsieve.study.unlabelled`.
    """
    if pool_is_labelled(config):
        if not config["pool"]["label"]:
            raise ChemsieveError(
                "configuration: pool.label: name the column of the pool's labels, or set pool.labels to unlabelled"
            )
        return
    name = config["selection"]["measure_next"]
    if needs_labels(module_of(config["selection"]["strategies"][name], name, "strategy")):
        raise ChemsieveError(
            f"configuration: selection.measure_next: pool.labels is unlabelled, and {name!r} needs labels"
        )


def check_tables(config: Json) -> None:
    """The user's files of target and pool exist and have their columns; read from their headers alone."""
    if given := config["target"]["unlabelled"]:
        _check_layout("target.unlabelled", MOLECULES | given)
        check_molecules(given["path"], "target.unlabelled", MOLECULES | given)
    for section in ("target", "pool"):
        table = config[section]
        _check_measured(section, table)
        if table["source"] == "file":
            _check_layout(section, table)
            if table["path"]:
                check_table(table["path"], section, table)
            elif not table.get("downloads"):
                raise ChemsieveError(
                    f"configuration: {section}.path: give your file, for example "
                    f"--config '{section}={{path: my_{section}.csv}}'"
                )
        elif table["path"]:
            raise ChemsieveError(
                f"configuration: {section}.path: a file is given, but {section}.source is embedded; set it to file"
            )


def _check_measured(section: str, table: Json) -> None:
    """Conditions can be met, and what is read beside the label has a file to stand in."""
    for column, wanted in measured.conditions(table).items():
        if (limits := measured.bounds(wanted)) and limits[0] > limits[1]:
            raise ChemsieveError(
                f"configuration: {section}.where.{column}: {limits[0]:g} is above {limits[1]:g}, so that no row has "
                "it; give the lower number first"
            )
    if not table["path"]:
        for key in ("relation", "measured_in", "where"):
            if table[key] and (key != "measured_in" or measured.unit_column(table)):
                raise ChemsieveError(
                    f"configuration: {section}.{key}: only a file of yours has further columns; name it in "
                    f"{section}.path"
                )
    elif (unit := measured.unit_column(table)) and table["source"] == "file":
        try:
            check_table(table["path"], section, table | {"where": {}, "relation": None})
        except ChemsieveError as error:
            if f"no column {unit!r}" in str(error):
                units = ", ".join(measured.UNITS)
                raise ChemsieveError(
                    f"configuration: {section}.measured_in: {unit!r} is no column of the file, and no unit; units "
                    f"are {units}"
                ) from None
            raise


def check_split(config: Json) -> None:
    """Fractions make a whole, a given division has its column, and labels are cut at the mean of one split."""
    split, target = config["split"], config["target"]
    total = sum(split["fractions"])
    if abs(total - 1) > 1e-9:
        raise ChemsieveError(f"configuration: split.fractions: they sum to {total:g}, not to 1")
    if "column" in split["splitters"] and not target["fold"]:
        raise ChemsieveError("configuration: target.fold: the splitter 'column' needs the name of the fold's column")
    if target["binarise"] and len(split["splitters"]) * len(split["seeds"]) > 1:
        raise ChemsieveError(
            "configuration: target.binarise: labels are cut at the training mean of one split; give one splitter and "
            "one split seed"
        )


def check_limits(config: Json) -> None:
    """Limits that are trained on as what they are have a loss, and no mean that cuts them."""
    target = config["target"]
    if target["censored"] != measured.CENSORED:
        return
    if target["binarise"]:
        raise ChemsieveError(
            "configuration: target.censored: labels that are cut at their mean are no limits; set target.binarise to "
            "null, or target.censored to exclude"
        )
    if config["finetune"]["head"]["kernel"]:
        raise ChemsieveError(
            "configuration: target.censored: finetune.head.kernel is solved for, and takes measured labels alone; set "
            "one of them otherwise"
        )


def check_prediction(config: Json) -> None:
    """The file of molecules to predict can be read."""
    if config["predict"]["input"]:
        _check_layout("predict", config["predict"])
        check_molecules(config["predict"]["input"], "predict", config["predict"])


def _check_layout(section: str, table: Json) -> None:
    """A delimiter, a decimal mark and an encoding that a file can be read with."""
    if table["delimiter"] in '"\r\n\0' or not table["delimiter"].isascii():
        raise ChemsieveError(f"configuration: {section}.delimiter: {table['delimiter']!r} cannot divide fields")
    if table.get("decimal") == table["delimiter"] and table["format"] in ("auto", "csv"):
        raise ChemsieveError(
            f"configuration: {section}.decimal: {table['decimal']!r} is the delimiter too; set {section}.delimiter, "
            "for example to ';'"
        )
    check_encoding(section, table["encoding"])


def check_pretraining(config: Json) -> None:
    """Files that pretraining reads beside its corpus are there, and what it learns from whole molecules."""
    chosen = config["pretrain"]
    for number, file in enumerate(chosen["exclude"]):
        section = f"pretrain.exclude[{number}]"
        _check_layout(section, MOLECULES | file)
        check_molecules(file["path"], section, MOLECULES | file)
    for name, table in chosen["targets"].items():
        _check_exists(f"pretrain.targets.{name}.path", table["path"])
    if chosen["unmasked"] and not (chosen["properties"] or chosen["targets"]):
        raise ChemsieveError(
            "configuration: pretrain.unmasked: molecules that nothing is masked in teach nothing without "
            "pretrain.properties or pretrain.targets; set it to 0"
        )


def check_adaptation(config: Json) -> None:
    """Some objective has a weight, and what it is to learn is there."""
    chosen = config["mlm"]
    weights = chosen["objectives"]
    if not any(weights.values()):
        raise ChemsieveError(
            "configuration: mlm.objectives: all weights are 0, so that adaptation would learn nothing; give one a "
            "weight, for example mlm: 1.0"
        )
    if weights["descriptors"]:
        # Imported where it is needed: it loads RDKit.
        from chemsieve.data.descriptors import chosen_names

        chosen_names(chosen["descriptors"], chosen["descriptors_left_out"])
    if weights["teacher"]:
        if not chosen["teacher"]:
            raise ChemsieveError(
                "configuration: mlm.teacher: mlm.objectives.teacher has a weight, and there is no table to learn; name "
                "it, for example {path: vectors.parquet}"
            )
        _check_exists("mlm.teacher.path", chosen["teacher"]["path"])
    beside = any(weight for name, weight in weights.items() if name != "mlm")
    if chosen["unmasked"] and not beside:
        raise ChemsieveError(
            "configuration: mlm.unmasked: molecules that nothing is masked in teach nothing where mlm.objectives has "
            "but masked tokens; set it to 0"
        )
    if chosen["unmasked"] == 1 and weights["mlm"]:
        raise ChemsieveError(
            "configuration: mlm.unmasked: where all molecules stay whole no token is masked; lower it, or set "
            "mlm.objectives.mlm to 0"
        )


def _check_exists(key: str, path: str) -> None:
    if not Path(path).exists():
        raise ChemsieveError(f"configuration: {key}: there is no file or folder {path}")


def check_encoder(config: Json) -> None:
    """The encoder that is named is of the family that is named, and a repository is pinned."""
    encoder = config["encoder"]
    if encoder["path"] == BUNDLED and encoder["family"] != "molformer":
        raise ChemsieveError(
            "configuration: encoder.path: the encoder that comes with the project is of the family molformer; name a "
            f"folder of the family {encoder['family']}, or null for random weights"
        )
    if encoder["repository"] and not encoder["path"] and not encoder["revision"]:
        raise ChemsieveError("configuration: encoder.revision: a repository needs a pinned revision (40 hex digits)")


def check_encoder_files(config: Json) -> None:
    """The encoder's local folder, where the workflow itself is not to make it, has its files."""
    encoder = config["encoder"]
    wanted = [Path(encoder["tokenizer"])] if encoder["tokenizer"] else []
    if encoder["path"] and encoder["path"] != BUNDLED:
        names = ["config.json", "model.safetensors", *(["tokenizer.json"] if not wanted else [])]
        wanted += [Path(encoder["path"]) / name for name in names]
    for path in wanted:
        if "results" not in Path(os.path.normpath(path)).parts[:1] and not path.is_file():
            key = "tokenizer" if str(path) == encoder["tokenizer"] else "path"
            raise ChemsieveError(
                f"configuration: encoder.{key}: there is no file {path}; an encoder's folder has config.json, "
                "model.safetensors and tokenizer.json"
            )


def check_selection_start(config: Json) -> None:
    """A regressor is continued in steps that all selections share, which leave no order to a curriculum."""
    chosen = config["selection"]
    if chosen["start"] == "regressor" and (config["finetune"] | chosen["training"])["curriculum"]:
        raise ChemsieveError(
            "configuration: selection.start: a regressor is continued without a curriculum; set finetune.curriculum "
            "to null, or selection.start to encoder"
        )


def check_looks(config: Json) -> None:
    """Looks grow, and the study stands at one of them."""
    looks = config["statistics"]["looks"]
    if not looks:
        return
    if any(later <= earlier for earlier, later in pairwise(looks)):
        raise ChemsieveError(f"configuration: statistics.looks: each is to be larger than the one before, not {looks}")
    key, seeds = replicates(config)
    if len(seeds) not in looks:
        raise ChemsieveError(
            f"configuration: statistics.looks: {key} has {len(seeds)} entries, and the looks are at "
            f"{', '.join(map(str, looks))}"
        )


def replicates(config: Json) -> tuple[str, list[int]]:
    """The key whose entries are the replicates, which a growing study adds to, and its entries."""
    splits = config["split"]["seeds"]
    return ("split.seeds", splits) if len(splits) > 1 else ("seeds", config["seeds"])


def check_checkpoints(config: Json) -> None:
    """Epochs whose weights are kept are epochs of fine-tuning."""
    last = max(config["finetune"]["checkpoints"])
    if last > config["finetune"]["epochs"]:
        raise ChemsieveError(
            f"configuration: finetune.checkpoints: epoch {last} lies beyond the last, {config['finetune']['epochs']}"
        )
