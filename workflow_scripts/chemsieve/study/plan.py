"""What a study consists of: its axes, files, runs and tables, and what each step depends on.

All of it follows from the configuration alone (:class:`Plan`), so that it can be asked and tested without Snakemake.
The rules ask it for paths and for the slices of the configuration that their jobs depend on.
"""

import difflib
import itertools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from chemsieve import methods, selection, uses
from chemsieve.data.measured import CENSORED
from chemsieve.data.reading import MOLECULES
from chemsieve.errors import ChemsieveError
from chemsieve.influence import estimators
from chemsieve.models.bundled import BUNDLED, local_folder
from chemsieve.runtime.files import sha256
from chemsieve.statistics.families import CONTINUED, DESCRIPTORS, QUESTIONS, VERSUS, families, named, unknown
from chemsieve.study import configuration
from chemsieve.study.effective import AT

Json = dict[str, Any]
# Of target and pool: what the rows of a file are made into.
MEASURED_KEYS = ("relation", "censored", "where", "measured_in", "transform", "repeats", "drop_if_apart", "unusual")
# The files of an encoder folder, and of a model folder that predicts without the workflow.
ENCODER_FILES = ("config.json", "model.safetensors", "tokenizer.json")
MODEL_FILES = (
    "chemsieve.json",
    *("config.json", "tokenizer.json", "model.safetensors"),
    "training.parquet",
    "README.md",
)
# Of a folder of the mean of two models, beside a whole model folder of each.
MEAN_FILES = ("chemsieve.json", "README.md")
MEAN_MEMBERS = ("language", "descriptors")
FULL = "full"  # fine-tuning all parameters: of every study, and no entry of grid.methods
NONE = "none"  # the control without any pool molecule


def expand(pattern: str, **axes: Sequence[object]) -> list[str]:
    """Paths of a pattern over the product of some axes, the last of which varies fastest.

    Raises:
        KeyError: the pattern has an axis that is not given.
    """
    return [pattern.format(**dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]


def encoder_folder(path: str) -> list[str]:
    """The files of an encoder folder."""
    return [f"{path}/{name}" for name in ENCODER_FILES]


class Plan:
    """A study as its configuration describes it.

    Paths are patterns with the wildcards ``splitter``, ``split_seed`` and ``seed`` where they say so, and below the
    study's folder ``results``. ``at`` is where a job stands on the study's axes: an object with an attribute for each
    of its wildcards.

    Args:
        config: of the study, complete and valid.
    """

    def __init__(self, config: Json):
        self.config = config
        self.results = f"results/{config['study']}"
        self.split = f"{self.results}/splits/{{splitter}}/{{split_seed}}"
        self.replicate = f"{self.results}/runs/{{splitter}}/{{split_seed}}/{{seed}}"
        self.encoder = f"{self.results}/encoder"
        self.splits = {"splitter": config["split"]["splitters"], "split_seed": config["split"]["seeds"]}
        self.replicates = self.splits | {"seed": config["seeds"]}
        self.checkpoints = sorted(config["finetune"]["checkpoints"])
        self.strategies = configuration.all_strategies(config)
        self.family = config["encoder"]["family"]
        self.threads = config["compute"]["threads"]
        # What results depend on; a warm start changes none.
        self.compute = {key: config["compute"][key] for key in ("device", "threads")}

    # The data.

    @property
    def embedded(self) -> bool:
        """Whether a file of the study is the project's own."""
        return "embedded" in (self.config["target"]["source"], self.config["pool"]["source"])

    @property
    def control(self) -> bool:
        """Whether the truth about the pool's labels is known."""
        return self.config["pool"]["source"] == "embedded"

    @property
    def labelled(self) -> bool:
        """Whether the pool's labels are used."""
        return configuration.pool_is_labelled(self.config)

    @property
    def treated(self) -> bool:
        """Whether every split has a pool of its own: labels computed anew or left out, or cut at the training mean."""
        return self.labelled and (
            self.config["pool"]["labels"] == "relabel_from_training"
            or self.config["pool"]["leaks"] == "drop"
            or self.config["target"]["binarise"] is not None
        )

    @property
    def censored(self) -> bool:
        """Whether labels of the target that are limits are trained on as what they are."""
        return self.config["target"]["censored"] == CENSORED

    @property
    def limits(self) -> list[str]:
        """The training molecules of which a limit is known, where these are trained on."""
        return [f"{self.split}/limits.parquet"] if self.censored else []

    @property
    def pool(self) -> str:
        """The pool that training and selection read."""
        return f"{self.split}/pool.parquet" if self.treated else f"{self.results}/data/pool.parquet"

    def table_file(self, section: str) -> str:
        """Where the target or the pool is read from: the user's path, the embedded data, or a download."""
        table = self.config[section]
        if table["source"] == "embedded":
            return f"{self.results}/embedded/{section}.csv"
        return table["path"] or f"{self.results}/data/downloaded_{section}.csv"

    def table_columns(self, section: str) -> Json:
        """How a table is read.

        What the project writes itself is plain CSV; a download has the column names smiles and label.
        """
        keys = ("smiles", "label", "fold", "delimiter", "format", "encoding", "decimal", *MEASURED_KEYS)
        table = {key: self.config[section].get(key) for key in keys}
        if not self.config[section]["path"]:
            table |= {"delimiter": ",", "format": "csv", "encoding": "utf-8", "decimal": "."}
            if self.config[section]["source"] == "file":
                table |= {"smiles": "smiles", "label": "label", "fold": None}
        return table

    def identified(self, section: str) -> Json:
        """How a table is read, with its molecules' own names; what the project writes itself has none."""
        given = self.config[section]["identifier"] if self.config[section]["path"] else None
        return self.table_columns(section) | {"identifier": given}

    @property
    def unlabelled_file(self) -> list[str]:
        """The user's further molecules that the model is for, where there are any."""
        given = self.config["target"]["unlabelled"]
        return [given["path"]] if given else []

    @property
    def unlabelled_spec(self) -> Json:
        """How they are read."""
        given = self.config["target"]["unlabelled"]
        return {"unlabelled": MOLECULES | {k: v for k, v in given.items() if k != "path"}} if given else {}

    @property
    def unlabelled(self) -> list[str]:
        """Those of them that the encoder reads."""
        return [f"{self.results}/data/unlabelled.parquet"] if self.unlabelled_file else []

    def audited(self, name: str) -> list[str]:
        """A file of what is known of the pool's labels, where they are used."""
        return [f"{self.results}/{name}"] if self.labelled else []

    # Files of the study.

    def of_splits(self, pattern: str, **axes: Sequence[object]) -> list[str]:
        """Files of a pattern, of every split."""
        return expand(pattern, **axes, **self.splits)

    def of_replicates(self, pattern: str, **axes: Sequence[object]) -> list[str]:
        """Files of a pattern, of every replicate."""
        return expand(pattern, **axes, **self.replicates)

    def below(self, at: Any, name: str) -> str:
        """A file or folder of the replicate that a job is of."""
        return f"{self.results}/runs/{at.splitter}/{at.split_seed}/{at.seed}/{name}"

    def origin_encoder(self, at: Any) -> list[str]:
        """The encoder that a job's origin starts from; without an origin, the adapted one."""
        adapted = getattr(at, "origin", "adapted") == "adapted"
        return encoder_folder(self.below(at, "mlm") if adapted else self.encoder)

    @property
    def encoder_files(self) -> dict[str, str]:
        """Files of the local folder that the encoder is made from, by name."""
        encoder = self.config["encoder"]
        if not encoder["path"]:
            return {}
        names = [name for name in ENCODER_FILES if not (name == "tokenizer.json" and encoder["tokenizer"])]
        return {name: f"{local_folder(encoder['path'])}/{name}" for name in names}

    @property
    def encoder_inputs(self) -> list[str]:
        """The user's files that the encoder is made from.

        Not those that come with the project: they are as old as the checkout, and a study beside a newer one would run
        anew.
        """
        files = [] if self.config["encoder"]["path"] == BUNDLED else list(self.encoder_files.values())
        return [*files, *self.tokenizer]

    @property
    def encoder_source(self) -> Json:
        """What the encoder depends on.

        Its architecture only where it starts from random weights; in place of the dates of files that come with the
        project, their content.
        """
        read = (
            "stereo",
            "max_tokens",
            "unknown_tokens",
            "standardise",
        )  # how molecules are read, which the encoder is not made of
        encoder = {key: value for key, value in self.config["encoder"].items() if key not in read}
        if encoder["path"] or encoder["repository"]:
            encoder |= {"architecture": None, "seed": None}
        shipped = self.encoder_files if encoder["path"] == BUNDLED else {}
        return {"encoder": encoder, "shipped": {name: sha256(path) for name, path in shipped.items()}}

    @property
    def tokenizer(self) -> list[str]:
        """The user's tokenizer, where one is given."""
        return [self.config["encoder"]["tokenizer"]] if self.config["encoder"]["tokenizer"] else []

    # Adaptation.

    @property
    def adaptation(self) -> Json:
        """What adaptation depends on: the objectives that have a weight, and of their options those that these have."""
        chosen = dict(self.config["mlm"])
        weights = {name: weight for name, weight in chosen["objectives"].items() if weight}
        objectives: Json = {"weights": weights}
        names, left_out, teacher = (chosen.pop(key) for key in ("descriptors", "descriptors_left_out", "teacher"))
        if "descriptors" in weights:
            objectives |= {"descriptors": names, "left_out": left_out}
        if "teacher" in weights:
            objectives["teacher"] = teacher
        return chosen | {"objectives": objectives}

    @property
    def adaptation_pool(self) -> list[str]:
        """The pool, where the encoder is adapted to its structures too.

        The one of all splits: what a split's own pool leaves out follows from labels, and these concern no structure.
        """
        both = self.config["mlm"]["molecules"] == "training_and_pool"
        return [f"{self.results}/data/pool.parquet"] if both else []

    @property
    def adaptation_teacher(self) -> list[str]:
        """The table of the vectors that adaptation learns, where it does."""
        chosen = self.config["mlm"]
        return [chosen["teacher"]["path"]] if chosen["objectives"]["teacher"] else []

    # Runs.

    @cached_property
    def runs(self) -> list[str]:
        """Folders of the language models' runs below a replicate.

        Fine-tuning the adapted encoder on no pool molecule is the control `none`, and stands there once. Selections
        that continue its regressor have a control of their own, which is continued too.
        """
        selected = [name for name in self.config["selection"]["run"] if name != NONE]
        selected = [NONE, *selected] if self.continued and selected else selected
        grid = self.config["grid"]
        return [
            "finetune/baseline",
            "finetune/adapted",
            # A pool without labels is ordered, and nothing is trained on it.
            *(f"selected/{FULL}/{strategy}" for strategy in selected if self.labelled),
            *(f"selected/{FULL}/{name}" for name, (strategy, _) in self.swept.items() if strategy in selected),
            *(f"used/{use}/{FULL}/{strategy}" for use in self.uses for strategy in self.used),
            *(f"selected/{method}/{strategy}" for method in grid["run"] for strategy in grid["selections"]),
        ]

    # Selections cut by other budgets.

    @cached_property
    def swept(self) -> dict[str, tuple[str, Json]]:
        """Strategy and budget of each selection that is one of another, cut by another budget, by name."""
        return configuration.swept(self.config)

    @property
    def budget_points(self) -> dict[str, dict[str, str]]:
        """Of each strategy and budget of the sweep the selection that is trained on."""
        return configuration.budget_points(self.config)

    @property
    def swept_curves(self) -> Json:
        """What the budget curves depend on, besides their files."""
        return {"points": self.budget_points, "statistics": self.config["statistics"]}

    @property
    def swept_selections(self) -> list[str]:
        """The pool as each strategy orders it, cut by each other budget."""
        return self.of_replicates(f"{self.replicate}/selection/{{strategy}}.parquet", strategy=list(self.swept))

    def strategy_of(self, at: Any) -> str:
        """The order of the strategy that a job cuts by another budget."""
        return self.below(at, f"selection/{self.swept[at.strategy][0]}.parquet")

    # How selected molecules are used.

    @property
    def uses(self) -> list[str]:
        """Uses that are trained beside mixed, which is the runs in ``selected``."""
        return [name for name in self.config["use"]["run"] if name != uses.MIXED]

    @property
    def used(self) -> list[str]:
        """Strategies whose molecules are used in other ways than mixed."""
        return [name for name in self.config["selection"]["run"] if name != NONE and self.labelled and self.uses]

    @property
    def use_entries(self) -> dict[str, Json]:
        """Module and options of each use, by name."""
        return {
            name: {
                "module": configuration.module_of(entry, name, "use"),
                "options": configuration.options_of(entry, configuration.USE_KEYS),
            }
            for name, entry in self.config["use"]["uses"].items()
        }

    @property
    def closed_form(self) -> Json:
        """What the closed form of the uses depends on, besides its files."""
        known = {
            name: entry
            for name, entry in self.use_entries.items()
            if uses.load(entry["module"]).form(**entry["options"]) is not None
        }
        return {"uses": known, "damping": self.config["influence"]["estimators"]["exact"].get("damping")}

    def use_candidates(self, name: str) -> dict[str, Json]:
        """The uses that the closed form chose among, where a use reads what it chose."""
        return self.closed_form["uses"] if uses.asks(**self.use_entries[name]) else {}

    def use(self, name: str) -> Json:
        """What a use of the selected molecules depends on."""
        return {"name": name, **self.use_entries[name], "candidates": self.use_candidates(name)}

    def use_choice(self, at: Any) -> list[str]:
        """What the closed form says of a selection, for a use that reads it."""
        return [self.below(at, f"pool_use/{at.strategy}.parquet")] if self.use_candidates(at.use) else []

    def use_residuals(self, at: Any) -> list[str]:
        """How badly each label of a selection fits, for a use that reads it."""
        needs = uses.load(self.use_entries[at.use]["module"]).NEEDS
        return [self.below(at, f"pool_use/{at.strategy}-residuals.parquet")] if "residuals" in needs else []

    def pool_uses(self, suffix: str) -> list[str]:
        """What the closed form says of each selection, and what descriptor models say."""
        return [
            *self.of_replicates(f"{self.replicate}/pool_use/{{strategy}}{suffix}.parquet", strategy=self.used),
            *self.described_choices(suffix),
        ]

    def last_gram(self, at: Any) -> list[str]:
        """The scoring model's last Gram matrix and the facts about it."""
        return self._scoring_grams(at)[-2:]

    @property
    def continued(self) -> bool:
        """Whether full fine-tuning on a selection goes on from the fine-tuned adapted regressor."""
        return self.config["selection"]["start"] == "regressor"

    def selected_origin(self, method: str) -> str:
        """Origin of a run on a selection."""
        return CONTINUED if method == FULL and self.continued else "adapted"

    @cached_property
    def baselines(self) -> list[str]:
        """Folders of the descriptor models' runs below a replicate: on the training molecules, then with selections."""
        names = self.config["baselines"]["run"]
        selected = configuration.baseline_selections(self.config)
        return [
            *(f"descriptors/{name}" for name in names),
            *(f"descriptors/{name}/{strategy}" for name in names for strategy in selected),
            *(f"descriptors/{name}/{one}" for name in names for one in self.swept if self.swept[one][0] in selected),
            *(
                f"described/{name}/{strategy}/{use}"
                for name in names
                for strategy in self.described_used
                for use in self.described_uses
            ),
        ]

    @property
    def described_uses(self) -> list[str]:
        """Uses in which descriptor models are fitted beside mixed, which is their runs in ``descriptors``."""
        return [name for name in self.config["baselines"]["uses"] if name != uses.MIXED]

    @property
    def described_used(self) -> list[str]:
        """Strategies whose molecules descriptor models use in other ways than mixed."""
        return configuration.baseline_selections(self.config) if self.described_uses and self.labelled else []

    def described_choices(self, suffix: str) -> list[str]:
        """What the held-out errors of descriptor models say of each selection."""
        if not self.described_used:
            return []
        return self.of_replicates(
            f"{self.replicate}/described/{{baseline}}/{{strategy}}/uses{suffix}.parquet",
            baseline=self.config["baselines"]["run"],
            strategy=self.described_used,
        )

    @property
    def described(self) -> Json:
        """What the uses of a descriptor model depend on, besides what the model does."""
        return {"run": self.described_uses, "uses": {**self.closed_form["uses"], **self._autos}, **self.largest}

    @property
    def _autos(self) -> dict[str, Json]:
        """Entries of the use that is chosen."""
        return {name: entry for name, entry in self.use_entries.items() if entry["module"] == uses.AUTO}

    def baseline(self, name: str) -> Json:
        """What a descriptor model depends on, besides the folds: its module, its features, its options."""
        entry = self.config["baselines"]["methods"][name]
        return {
            "model": configuration.module_of(entry, name, "model"),
            "features": entry.get("features", ["descriptors"]),
            "options": configuration.options_of(entry, configuration.BASELINE_KEYS),
        }

    @property
    def largest(self) -> Json:
        """How many molecules a descriptor model may be fitted on with a selection."""
        return {"largest": self.config["baselines"]["largest"]}

    def baseline_features(self, name: str, pool: bool = False) -> list[str]:
        """The tables of a descriptor model's features, in its order: of the target's molecules, or of the pool's."""
        of = "pool_" if pool else ""
        return [f"{self.results}/data/{of}{feature}.parquet" for feature in self.baseline(name)["features"]]

    @cached_property
    def configurations(self) -> list[list[str]]:
        """Origin, method and selection of every run, as comparisons name them."""
        made = []
        for run in [*self.runs, *self.baselines]:
            kind, *names = run.split("/")
            if kind == "finetune":
                made.append([*names, FULL, NONE])
            elif kind == "selected":
                made.append([self.selected_origin(names[0]), *names])
            elif kind == "used":
                use, method, strategy = names
                made.append(["adapted", method, named(strategy, use)])
            elif kind == "described":
                method, strategy, use = names
                made.append([DESCRIPTORS, method, named(strategy, use)])
            else:
                made.append([kind, names[0], names[1] if len(names) > 1 else NONE])
        return made

    @property
    def compared(self) -> Json:
        """What the study's questions are about, whatever of it can be trained.

        Raises:
            ChemsieveError: a question is about no comparison of the study.
        """
        planned = families([(origin, method, selection) for origin, method, selection in self.configurations])
        wrong = unknown(self.config["statistics"]["compare"], planned)
        if wrong is not None:
            known = [f"{pair.what}{VERSUS}{pair.versus}" for family in planned for pair in family.pairs]
            near = difflib.get_close_matches(wrong, [*QUESTIONS, *known], n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"known: {', '.join(QUESTIONS)}, or one such as {known[0]!r}"
            )
            raise ChemsieveError(f"configuration: statistics.compare: unknown comparison {wrong!r}; {hint}")
        return {"configurations": self.configurations, "splitters": len(self.config["split"]["splitters"])}

    @property
    def curves(self) -> list[str]:
        """Learning curves: of adaptation, then of fine-tuning."""
        return [
            *self.of_replicates(f"{self.replicate}/mlm/curve.parquet"),
            *self.of_replicates(f"{self.replicate}/{{run}}/curve.parquet", run=self.runs),
        ]

    @property
    def selections(self) -> list[str]:
        """The pool as each strategy orders it."""
        return self.of_replicates(f"{self.replicate}/selection/{{strategy}}.parquet", strategy=self.strategies)

    # Tuning.

    @cached_property
    def tuned(self) -> list[str]:
        """Methods whose learning rate is chosen before they train; what follows full fine-tuning has its rate."""
        return [name for name in configuration.tuned_methods(self.config) if not self._follows(name)]

    def _follows(self, method: str) -> bool:
        """Whether a method of the grid only does more with full fine-tuning as the study has it."""
        if method == FULL or self.config["grid"]["start"] == "regressor":
            return False
        cell = self.cell(method)
        return bool(methods.finishing(cell["method"])) and cell["training"] == self.cell(FULL)["training"]

    @property
    def tunings(self) -> list[str]:
        """What tuning gave, of each split that it is done on; full fine-tuning is tuned from either encoder."""
        splits = self.each_split if self.config["tuning"]["splits"] == "each" else self.each_split[:1]
        cells = [("baseline", FULL)] * (FULL in self.tuned) + [("adapted", method) for method in self.tuned]
        return [
            self._tuning(splitter, split_seed, origin, method)
            for splitter, split_seed in splits
            for origin, method in cells
        ]

    def tuned_rate(self, at: Any) -> list[str]:
        """What tuning gave for a run that starts from an encoder, where its method is tuned."""
        method, origin = getattr(at, "method", FULL), getattr(at, "origin", "adapted")
        if method not in self.tuned or (hasattr(at, "method") and self.selected_origin(method) == CONTINUED):
            return []
        place = (at.splitter, at.split_seed) if self.config["tuning"]["splits"] == "each" else self.each_split[0]
        return [self._tuning(place[0], place[1], origin, method)]

    def _tuning(self, splitter: str, split_seed: Any, origin: str, method: str) -> str:
        """With the first training seed, and for all of them."""
        at = SimpleNamespace(splitter=splitter, split_seed=split_seed, seed=self.config["seeds"][0])
        return self.below(at, f"tuning/{origin}/{method}.parquet")

    def tuned_regressor(self, at: Any) -> list[str]:
        """The fine-tuned regressor that a method is tuned from, where its runs start from that."""
        return [] if at.method == FULL else self.cell_regressor(at)

    def tuning(self, method: str) -> Json:
        """What the tuning of a method depends on, besides its files."""
        return self.cell(method) | {key: self.config["tuning"][key] for key in ("trials", "factor")}

    @property
    def regressor(self) -> Json:
        """What a regressor consists of beside the encoder."""
        return {key: self.config["finetune"][key] for key in ("dropout", "head")}

    def cell(self, method: str) -> Json:
        """Method, options and hyperparameters of full fine-tuning, or of a method of the grid."""
        if method == FULL:
            module, options = FULL, {}
            training = {key: value for key, value in self.config["finetune"].items() if key not in ("dropout", "head")}
        else:
            entry = self.config["grid"]["methods"][method]
            module = configuration.module_of(entry, method, "method")
            options = configuration.options_of(entry, configuration.METHOD_KEYS)
            training = configuration.training_of(self.config, method)
        return {
            "method": module,
            "options": options,
            "training": {key: value for key, value in training.items() if key != "checkpoints"},
            **self.regressor,
            "family": self.family,
            "compute": self.compute,
        }

    def cell_influence(self, method: str) -> Json:
        """What influence at a cell of the grid depends on."""
        cell, chosen = self.cell(method), self.config["influence"]
        return {
            "method": cell["method"],
            "method_options": cell["options"],
            "gram": chosen["gram"],
            "batch_size": chosen["batch_size"],
            "head": cell["head"],
            "tolerance": chosen["tolerance"],
            "estimators": {name: chosen["estimators"][name] for name in self.kernel_estimators},
            "family": self.family,
            "compute": self.compute,
        }

    def selected(self, method: str) -> Json:
        """What a run on a selection depends on: of :meth:`cell`, or as a regressor is continued."""
        made = self.cell(method) | {"origin": self.selected_origin(method)}
        if made["origin"] != CONTINUED:
            return made
        return made | {"quiet": True, "training": made["training"] | self.config["selection"]["training"]}

    def cell_regressor(self, at: Any) -> list[str]:
        """The fine-tuned regressor that a cell starts from, where the configuration says so."""
        start = self.config["selection" if at.method == FULL else "grid"]["start"]
        if start == "encoder":
            return []
        return [self.below(at, "finetune/adapted/model.safetensors")]

    def cell_trained(self, at: Any) -> list[str]:
        """Model, curve and facts of a full fine-tuning of the study's own that a cell only does more with.

        None where the cell's own training is another: by its hyperparameters, or by what the two start from.
        """
        if not self._follows(at.method) or (self.continued and at.strategy != NONE):
            return []
        run = "finetune/adapted" if at.strategy == NONE else f"selected/{FULL}/{at.strategy}"
        return [self.below(at, f"{run}/{name}") for name in ("model.safetensors", "curve.parquet", "run.json")]

    # Influence.

    @cached_property
    def kernel_estimators(self) -> list[str]:
        """Estimators of the study that work on the Gram matrix."""
        run = self.config["influence"]["run"]
        return [name for name in run if estimators.load(name).KERNEL]

    def gram(self, at: Any, suffix: str) -> list[str]:
        """The Gram matrix, or the facts about it, for an estimator that works on it."""
        if at.estimator not in self.kernel_estimators:
            return []
        return [self.below(at, f"influence/{at.origin}/{at.checkpoint}/gram.{suffix}")]

    def replayed(self, estimator: str) -> Json:
        """The training that an estimator makes, for one that makes any; quiet, and of the whole model."""
        module = estimators.load(estimator)
        if not module.REPLAYS:
            return {}
        chosen = self.config["influence"]["estimators"][estimator].get("replay", module.OPTIONS["replay"]["default"])
        finetune = {k: v for k, v in self.config["finetune"].items() if k not in ("checkpoints", *self.regressor)}
        return {"training": finetune | self.config[chosen]["training"], "dropout": self.config["finetune"]["dropout"]}

    def scores(self, name: str) -> list[str]:
        """A file of each estimator at each checkpoint: ``scores`` or ``diagnostics``."""
        chosen = self.config["influence"]
        return expand(
            f"{self.replicate}/influence/{{origin}}/{{checkpoint}}/{{estimator}}/{name}.parquet",
            origin=chosen["origins"],
            checkpoint=self.checkpoints,
            estimator=chosen["run"],
            **self.replicates,
        )

    @property
    def aggregates(self) -> list[str]:
        """Each estimator's scores over all checkpoints."""
        chosen = self.config["influence"]
        return expand(
            f"{self.replicate}/influence/{{origin}}/aggregate/{{estimator}}.parquet",
            origin=chosen["origins"],
            estimator=chosen["run"],
            **self.replicates,
        )

    @property
    def on_test(self) -> list[str]:
        """Influence on single test molecules, at the last checkpoint."""
        return expand(
            f"{self.replicate}/influence/{{origin}}/{{checkpoint}}/on_test.parquet",
            origin=[self.config["selection"]["origin"]],
            checkpoint=[max(self.checkpoints)],
            **self.replicates,
        )

    # Scores held against retraining.

    @property
    def _validated(self) -> list[str]:
        """The replicates that are trained again with random subsets of the pool."""
        return self.of_replicates(self.replicate)[: self.config["validation"]["replicates"]]

    @property
    def validates(self) -> bool:
        """Whether scores are held against retraining."""
        return bool(self.config["validation"]["run"] and self.validated_scores)

    @property
    def validation_losses(self) -> list[str]:
        """Validation losses after each retraining."""
        chosen = self.config["validation"]
        return expand(
            "{replicate}/validation/{subset}/{seed}.parquet",
            replicate=self._validated,
            subset=range(chosen["subsets"]),
            seed=chosen["seeds"],
        )

    @property
    def validated_scores(self) -> list[str]:
        """The scores that are held against them."""
        chosen = self.config["influence"]
        return [
            f"{replicate}/influence/{origin}/{place}"
            for replicate in self._validated
            for origin in chosen["origins"]
            for estimator in chosen["run"]
            for place in (
                *(f"{checkpoint}/{estimator}/scores.parquet" for checkpoint in self.checkpoints),
                f"aggregate/{estimator}.parquet",
            )
        ]

    @property
    def validated_selections(self) -> list[str]:
        """The orders of the strategies that are held against them."""
        return expand("{replicate}/selection/{name}.parquet", replicate=self._validated, name=self.strategies)

    def retrained_regressor(self, at: Any) -> list[str]:
        """The fine-tuned regressor that retraining starts from, where the configuration says so."""
        started = self.config["validation"]["start"] == "regressor"
        return [self.below(at, "finetune/adapted/model.safetensors")] if started else []

    # Selection.

    def strategy_module(self, name: str) -> str:
        """Module of a strategy."""
        return configuration.module_of(self.config["selection"]["strategies"][name], name, "strategy")

    def strategy_needs(self, name: str) -> set[str]:
        """What a strategy reads besides the pool."""
        return set(selection.load(self.strategy_module(name)).NEEDS)

    def aims_at_validation(self, selection_name: str) -> bool:
        """Whether a selection, or one before it, is made to lower the error of the study's validation molecules.

        That error is then lower than that of other molecules, and says little of the model.
        """
        name: str | None = self.swept[selection_name][0] if selection_name in self.swept else selection_name
        while name and name != NONE:
            aims = getattr(selection.load(self.strategy_module(name)), "AIMS_AT_VALIDATION", True)
            if aims and not {"influence", "gram", "validation"}.isdisjoint(self.strategy_needs(name)):
                return True
            name = self.config["selection"]["strategies"][name].get("after")
        return False

    def strategy_uses_model(self, name: str) -> bool:
        """Whether a strategy reads anything that the fine-tuned model computes."""
        return not {"model", "predictions", "embeddings"}.isdisjoint(self.strategy_needs(name))

    def strategy(self, name: str) -> Json:
        """What a selection depends on."""
        entry = self.config["selection"]["strategies"][name]
        read = {"family": self.family, "compute": self.compute, **self.regressor}
        swept = name in self.budget_points
        return {
            "module": self.strategy_module(name),
            "budget": entry.get("budget"),
            **({"sweep": list(configuration.sweep(self.config).values())} if swept else {}),
            "options": configuration.options_of(entry, configuration.STRATEGY_KEYS),
            **(read if self.strategy_uses_model(name) else {}),
        }

    def selection_model(self, at: Any) -> list[str]:
        """The fine-tuned model of the scoring origin and its encoder, for a strategy that reads what it computes."""
        return self._scoring_model(at) if self.strategy_uses_model(at.strategy) else []

    def _scoring_model(self, at: Any) -> list[str]:
        origin = self.config["selection"]["origin"]
        encoder = encoder_folder(self.encoder if origin == "baseline" else self.below(at, "mlm"))
        return [self.below(at, f"finetune/{origin}/model.safetensors"), *encoder]

    def selection_influence(self, at: Any) -> list[str]:
        """Aggregated influence scores, for a strategy that needs them."""
        if "influence" not in self.strategy_needs(at.strategy):
            return []
        chosen = self.config["selection"]
        return [self.below(at, f"influence/{chosen['origin']}/aggregate/{chosen['estimator']}.parquet")]

    def selection_grams(self, at: Any) -> list[str]:
        """The scoring model's curve, then Gram matrices with their facts, for a strategy that needs them."""
        return self._scoring_grams(at) if "gram" in self.strategy_needs(at.strategy) else []

    def _scoring_grams(self, at: Any) -> list[str]:
        origin = self.config["selection"]["origin"]
        names = [f"finetune/{origin}/curve.parquet"]
        for checkpoint in self.checkpoints:
            names += [f"influence/{origin}/{checkpoint}/gram.{suffix}" for suffix in ("safetensors", "json")]
        return [self.below(at, name) for name in names]

    def selection_after(self, at: Any) -> list[str]:
        """What goes before a strategy, where something does: the pool as that orders and cuts it."""
        before = self.config["selection"]["strategies"][at.strategy].get("after")
        return [self.below(at, f"selection/{before}.parquet")] if before else []

    def selection_training(self, at: Any) -> list[str]:
        """Training molecules, for a strategy that needs them."""
        return self._fold(at, "train") if {"training", "embeddings"} & self.strategy_needs(at.strategy) else []

    def selection_unlabelled(self, at: Any) -> list[str]:
        """Further molecules that the model is for, for a strategy that asks what these are."""
        return self.unlabelled if "unlabelled" in self.strategy_needs(at.strategy) else []

    def selection_validation(self, at: Any) -> list[str]:
        """Validation molecules, for a strategy that needs them."""
        return self._fold(at, "validation") if "validation" in self.strategy_needs(at.strategy) else []

    def _fold(self, at: Any, name: str) -> list[str]:
        return [f"{self.results}/splits/{at.splitter}/{at.split_seed}/{name}.parquet"]

    # What to measure next: of the first replicate.

    @property
    def measure_inputs(self) -> dict[str, Any]:
        """What the list of molecules to measure is made of."""
        at = SimpleNamespace(**{axis: values[0] for axis, values in self.replicates.items()})
        return {
            "selection": self.below(at, f"selection/{self.config['selection']['measure_next']}.parquet"),
            "pool": self.pool.format(**vars(at)),
            "molecules": f"{self.results}/tables/molecules.parquet",
            "training": self._fold(at, "train"),
            "validation": self._fold(at, "validation"),
            "unlabelled": self.unlabelled,
            "model": self._scoring_model(at),
            "gram": self._scoring_grams(at),
        }

    @property
    def measuring(self) -> Json:
        """What that list depends on, besides its files."""
        entry = self.config["selection"]["strategies"][self.config["selection"]["measure_next"]]
        read = {"family": self.family, "compute": self.compute, **self.regressor}
        return {"seed": self.replicates["seed"][0], "damping": entry.get("damping"), **read}

    # Lists of what was chosen.

    @property
    def listed(self) -> list[str]:
        """Strategies that choose: all but the controls that take no or every molecule."""
        return [name for name in self.strategies if selection.load(self.strategy_module(name)).BUDGET]

    @property
    def each_split(self) -> list[tuple[str, int]]:
        """Splitter and seed of each split."""
        return list(itertools.product(self.splits["splitter"], self.splits["split_seed"]))

    @property
    def lists(self) -> list[str]:
        """What each strategy chose: over all splits, then of each where there are several."""
        from chemsieve.deployment.lists import FOLDER, file_names

        names = (name for strategy in self.listed for name in file_names(strategy, self.each_split))
        return [f"{self.results}/{FOLDER}/{name}" for name in names]

    # Tables.

    @cached_property
    def tables(self) -> list[str]:
        """Names of the study's result tables."""
        from chemsieve.tables import DECLARED

        return [name for name, table in DECLARED.items() if table.made and table.made(self)]

    @property
    def table_files(self) -> list[str]:
        """The study's result tables."""
        return [f"{self.results}/tables/{name}.parquet" for name in self.tables]

    @property
    def collected(self) -> dict[str, list[str]]:
        """Tables that only join files, with those files."""
        from chemsieve.tables import DECLARED

        tables = {name: DECLARED[name].collected for name in self.tables}
        return {name: files(self) for name, files in tables.items() if files}

    # What more splits and seeds would buy.

    @property
    def planned_from(self) -> list[str]:
        """The tables that the plan of a study is made from, where they stand; it is never the reason to run it."""
        files = [f"{self.results}/tables/{name}.parquet" for name in ("metrics", "splits", "predictions")]
        return files if all(Path(path).is_file() for path in files) else []

    @property
    def planning(self) -> Json:
        """What that plan depends on besides: how arms start, how many there are, what splits share."""
        selected = [run for run in self.runs if run.startswith(f"selected/{FULL}/") and AT not in run]
        arms = max(2, len(selected) + (not self.continued))
        train, validation, test = self.config["split"]["fractions"]
        folds = self.config["split"]["options"].get("cross_validation", {}).get("folds", 5)
        kept = train / (train + validation) if train else 1.0  # of what is not tested on
        shared = {"draws": 0.0, "cross_validation": 1 / ((folds - 1) * kept)}
        return {
            "splitters": self.config["split"]["splitters"],
            "start": self.config["selection"]["start"],
            "shared": {
                name: shared.get(name, test / train if train else 0.0) for name in self.config["split"]["splitters"]
            },
            "arms": arms,
            "others": len(self.runs) + len(self.baselines) - arms,
            "statistics": self.config["statistics"],
        }

    # The model that is exported.

    @cached_property
    def exported_cells(self) -> dict[str, Json]:
        """What each model is made of: settings, and files as patterns; by origin/method/selection, with /use if any."""
        cells = {}
        for run in self.runs:
            kind, *names = run.split("/")
            used = names[:1] if kind == "used" else []
            method, selection = (FULL, NONE) if kind == "finetune" else names[-2:]
            origin = names[0] if kind == "finetune" else "adapted" if used else self.selected_origin(method)
            made = self.cell(method) if kind == "finetune" else self.selected(method)
            on_regressor = method != FULL and self.config["grid"]["start"] == "regressor"
            cells["/".join([origin, method, selection, *used])] = {
                "model": f"{self.replicate}/{run}/model.safetensors",
                "encoder": self.encoder if origin == "baseline" else f"{self.replicate}/mlm",
                "base": f"{self.replicate}/finetune/adapted/model.safetensors" if on_regressor else None,
                "selection": None if kind == "finetune" else f"{self.replicate}/selection/{selection}.parquet",
                **{key: made[key] for key in ("method", "options", "dropout", "head")},
                "averaged": {key: made["training"][key] for key in ("writings", "draws")},
            }
        for run in self.baselines:
            kind, name, *selected = run.split("/")
            used = [selected.pop()] if kind == "described" else []
            cell = {
                **self.baseline(name),
                "tables": self.baseline_features(name),
                "validation": f"{self.split}/validation.parquet",
                "encoder": self.encoder,
            }
            for selection in selected:
                cell["added"] = {
                    "selection": f"{self.replicate}/selection/{selection}.parquet",
                    "pool": self.pool,
                    "tables": self.baseline_features(name, pool=True),
                }
            if used:
                cell |= {"use": used[0], **self.described}
            cells["/".join([DESCRIPTORS, name, *(selected or [NONE]), *used])] = cell
        return cells

    def exported_candidates(self) -> tuple[Json, dict[str, Json]]:
        """The replicates, as axes, and the cells among which predict.model chooses.

        Raises:
            ChemsieveError: predict.model names no run of the study, or wants a mean where there is no descriptor model.
        """
        cells, wanted = self.exported_cells, self.config["predict"]["model"]
        from chemsieve.deployment.choice import BEST, BEST_LANGUAGE_MODEL, MEAN, check_named

        if wanted == MEAN and not self.baselines:
            raise ChemsieveError(
                "configuration: predict.model: mean: the study has no descriptor model; see baselines.run"
            )
        if wanted in (BEST, MEAN):
            return self.replicates, cells
        if wanted in cells:
            return self.replicates, {wanted: cells[wanted]}
        if wanted == BEST_LANGUAGE_MODEL:
            language = {name: cell for name, cell in cells.items() if not name.startswith("descriptors/")}
            return self.replicates, language

        known = {
            "/".join([*map(str, values), name]): (
                {axis: [value] for axis, value in zip(self.replicates, values, strict=True)},
                {name: cell},
            )
            for values in itertools.product(*self.replicates.values())
            for name, cell in cells.items()
        }
        check_named(wanted, [*known, *cells])
        return known[wanted]

    @property
    def model_files(self) -> list[str]:
        """The files of the model folder, ``chemsieve.json`` first."""
        from chemsieve.deployment.choice import MEAN

        if self.config["predict"]["model"] != MEAN:
            return list(MODEL_FILES)
        return [*MEAN_FILES, *expand("{member}/{name}", member=MEAN_MEMBERS, name=MODEL_FILES)]

    def exported_files(self, at: Any = None) -> list[str]:
        """All that the model may be made of: which run it is shows in the metrics alone."""
        replicates, cells = self.exported_candidates()
        patterns = [f"{self.split}/train.parquet", *self.limits]
        for cell in cells.values():
            patterns += encoder_folder(cell["encoder"])
            if "tables" in cell:
                patterns += [*cell["tables"], cell["validation"]]
                if "added" in cell:
                    patterns += [*cell["added"]["tables"], cell["added"]["pool"], cell["added"]["selection"]]
            else:
                patterns += [cell[k] for k in ("model", "base", "selection") if cell[k]]
        return sorted({path for pattern in patterns for path in expand(pattern, **replicates)})

    def exported(self) -> Json:
        """What a model folder depends on."""
        encoder, predict = self.config["encoder"], self.config["predict"]
        return {
            "study": self.config["study"],
            "target": {key: self.config["target"][key] for key in ("label", "name", "unit")},
            "cells": self.exported_candidates()[1],
            "aimed": sorted(name for name in self.exported_cells if self.aims_at_validation(name.split("/")[2])),
            "train": f"{self.split}/train.parquet",
            "limits": self.limits,
            "family": self.family,
            **{key: encoder[key] for key in ("stereo", "max_tokens", "unknown_tokens", "standardise")},
            "predict": {key: predict[key] for key in ("model", "coverage", "uncertainty", "passes", "seed")},
            "compute": self.compute,
        }

    def predicted_file(self, at: Any = None) -> str:
        """The file to predict.

        Raises:
            ChemsieveError: the configuration names none.
        """
        return self._named(
            "predict", "input", "give your file, for example --config 'predict={input: my_molecules.csv}'"
        )

    def _named(self, section: str, key: str, otherwise: str) -> str:
        if not self.config[section][key]:
            raise ChemsieveError(f"configuration: {section}.{key}: {otherwise}")
        return self.config[section][key]

    # Pretraining.

    def corpus_file(self, at: Any = None) -> str:
        """The corpus.

        Raises:
            ChemsieveError: the configuration names none.
        """
        return self._named("pretrain", "corpus", "name a file of SMILES to pretrain on")

    @property
    def pretraining(self) -> Json:
        """What pretraining depends on: not the corpus's preparation, nor where a teacher's vectors come from."""
        chosen = {
            key: value
            for key, value in self.config["pretrain"].items()
            if key not in ("corpus", "limit", "held_out", "exclude")
        }
        learned = {
            name: {key: table[key] for key in ("weight", "required", "credit") if key in table}
            for name, table in chosen["targets"].items()
        }
        return chosen | {"targets": learned}

    def vectors(self, name: str) -> Json:
        """A table of vectors that are learned beside the tokens, without what concerns their learning."""
        table = self.config["pretrain"]["targets"][name]
        return {key: value for key, value in table.items() if key not in ("weight", "required", "credit")}
