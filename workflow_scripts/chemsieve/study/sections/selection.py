"""Sections on what is trained on: selections from the pool, the grid of methods, the descriptor models."""

from typing import Literal

from pydantic import ConfigDict, Field

from chemsieve.study.sections.influence import START, Estimator, Origin, Start
from chemsieve.study.sections.training import Overrides
from chemsieve.study.sections.values import (
    Count,
    Distinct,
    Entries,
    Entry,
    Name,
    NonNegative,
    PositiveShare,
    ProperShare,
    Section,
    Several,
    Written,
    key,
    optional,
)

STRATEGIES = Written("""
none: {}
all: {}
random: {budget: {count: 100}} # count, fraction, threshold (score at least), or magnitude (|score| at least)
uncertainty: {budget: {count: 100}, passes: 10}
diversity: {budget: {count: 100}}
influence: {budget: {count: 100}}
influence_bottom: {budget: {count: 100}}
v_optimal: {budget: {count: 100}} # needs no labels: makes predictions of the target surer
# These three ask which label is wrong:
disagreement: {budget: {fraction: 0.2778}, folds: 5} # cross-validated ridge on embeddings of target and pool
residual: {budget: {fraction: 0.3333}} # |label - prediction|, small first
self_influence: {budget: {fraction: 0.3333}, damping: 1.0} # from the Gram matrix, which is made for it if need be
# likely_right: {strategy: disagreement, budget: {fraction: 0.8}}
# influence_clean: {strategy: influence, budget: {count: 100}, after: likely_right} # without the worst fifth
# More, run by name in selection.run:
# target_alignment: {budget: {count: 100}, k: 5} # cosine to the nearest training molecules
# gradient_matching: {budget: {count: 100}} # TracIn over the kept checkpoints
# influence_uncertainty: {budget: {count: 100}, weight: 0.5}
# d_optimal: {budget: {count: 100}} # needs no labels: what the model is least sure of, given those before
# curriculum: {budget: {count: 100}} # short SMILES first
# curriculum_loss: {budget: {count: 100}} # molecules that the fine-tuned model predicts well first
# ts_dshapley: {budget: {threshold: 0}, best_removal: true} # Shapley values of a ridge on embeddings, in place of
# the model: permutations: 600, components: 64, ridge: null (cross-validated), share: 1.0 (of the pool in a chain)
# s2l: {budget: {count: 100}, clusters: 10} # evenly from clusters of loss trajectories of a linear model
""")

METHODS = Written("""
bitfit: {head: all, training: {learning_rate: 0.005, epochs: 2}}
lora: {rank: 8, alpha: 16, dropout: 0.0, targets: [query, key, value, intermediate], head: all,
  training: {learning_rate: 0.003, epochs: 2}}
ia3: {targets: [key, value, intermediate], head: all, training: {learning_rate: 0.01, epochs: 2}}
# More, run by name in grid.run. Other ways of full fine-tuning; the options of all are in docs/methods.md:
linear_probe: {training: {learning_rate: 0.005}} # the head alone, on an encoder that stays as it is
gradual: {method: full, training: {unfreeze: 1, layer_decay: 0.8}} # layers from the top down, one more each epoch
layerwise: {method: full, training: {layer_decay: 0.8}} # lower layers learn more slowly
frozen_embeddings: {method: by_name, freeze: [encoder.embeddings.*]}
wise_ft: {steps: 10} # weights between those before and after full fine-tuning, chosen on the validation molecules
# Any tuner of peft by its name, with its own options and targets:
rslora: {method: peft, tuner: lora, options: {r: 8, lora_alpha: 16, use_rslora: true},
  training: {learning_rate: 0.003}}
dora: {method: peft, tuner: lora, options: {r: 8, lora_alpha: 16, use_dora: true}, training: {learning_rate: 0.003}}
pissa: {method: peft, tuner: lora, options: {r: 8, lora_alpha: 8, init_lora_weights: pissa},
  training: {learning_rate: 0.001}}
hira: {method: peft, tuner: hira, options: {r: 8}, training: {learning_rate: 0.003}}
delora: {method: peft, tuner: delora, options: {r: 8}, training: {learning_rate: 0.003}}
loha: {method: peft, tuner: loha, options: {r: 8}, training: {learning_rate: 0.003}}
lokr: {method: peft, tuner: lokr, options: {r: 8}, training: {learning_rate: 0.003}}
miss: {method: peft, tuner: miss, options: {r: 8}, training: {learning_rate: 0.001}}
lily: {method: peft, tuner: lily, options: {r: 8}, training: {learning_rate: 0.003}} # stays beside the weights
vera: {method: peft, tuner: vera, options: {r: 64}, training: {learning_rate: 0.01}}
vblora: {method: peft, tuner: vblora, options: {num_vectors: 64, vector_length: 32},
  training: {learning_rate: 0.01}}
randlora: {method: peft, tuner: randlora, options: {r: 16}, training: {learning_rate: 0.001}}
shira: {method: peft, tuner: shira, options: {r: 8}, training: {learning_rate: 0.001}}
c3a: {method: peft, tuner: c3a, options: {block_size: 32}, training: {learning_rate: 0.01}}
fourierft: {method: peft, tuner: fourierft, options: {n_frequency: 500}, training: {learning_rate: 0.01}}
oft: {method: peft, tuner: oft, options: {oft_block_size: 32}, training: {learning_rate: 0.001}}
hra: {method: peft, tuner: hra, options: {r: 8}, training: {learning_rate: 0.003}}
road: {method: peft, tuner: road, options: {group_size: 32}, training: {learning_rate: 0.003}}
ln_tuning: {method: peft, tuner: ln_tuning, training: {learning_rate: 0.003}} # gains and shifts of normalisations
""")

DESCRIPTOR_MODELS = Written("""
svr: {}
svr_morgan: {model: svr, features: [descriptors, morgan]} # with Morgan fingerprints: the one to beat
svr_frozen: {model: svr, features: [embeddings]} # of the study's encoder, unchanged: is fine-tuning worth its time?
svr_all: {model: svr, features: [descriptors, morgan, embeddings], gamma: [0.001, 0.003]}
gradient_boosting: {}
gaussian_process: {} # for small targets: with uses a process of two correlated functions (docs/use.md)
""")


Feature = Literal["descriptors", "morgan", "embeddings"]


class Budget(Entry):
    """How many molecules of the pool a strategy takes; one of these keys."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    count: Count = optional("so many molecules")
    fraction: PositiveShare = optional("of the pool")
    threshold: float = optional("molecules that score at least so much")
    magnitude: NonNegative = optional("molecules whose score is at least so much, either way")


class Selection(Section):
    """Which molecules of the pool are added."""

    run: Distinct[Name] = key(
        ["none", "all", "random", "influence", "influence_bottom", "disagreement"],
        "to train on; none and all are controls",
    )
    rank: Distinct[Name] = key(
        ["diversity", "residual", "self_influence"],
        "strategies that only rank the pool: shown, and not trained on; a target of your own has uncertainty too",
    )
    budgets: Distinct[Count | ProperShare] = key(
        [],
        "counts, or fractions of the pool, that each strategy in run is cut by and trained on as well: does it help to "
        "add more? (docs/budgets.md)",
        [[100, 300, 1000]],
    )
    start: Start = key(
        "regressor",
        "of full fine-tuning on each: encoder trains the adapted encoder anew, with a fresh head; regressor goes on "
        "from the fine-tuned adapted regressor, without noise and in steps that all selections share, as does its own "
        "control none, so that nothing differs but the molecules (docs/statistics.md)",
    )
    training: Overrides = key({"epochs": 3, "learning_rate": 0.0002}, "keys that override those of finetune there")
    estimator: Estimator = key("shapley", "whose scores the influence strategies use")
    origin: Origin = key("adapted", "the model that scores")
    measure_next: Name = key("v_optimal", "the strategy whose molecules measure_next.csv lists (docs/measure_next.md)")
    strategies: Entries = key(
        STRATEGIES,
        "each entry names its strategy where the name differs: {strategy: influence, budget: {count: 64}}",
    )


class Grid(Section):
    """Other fine-tuning of the adapted encoder on each selection, parameter-efficient above all (docs/methods.md)."""

    run: Distinct[Name] = key(
        ["lora"], "methods that train, by their names below; a target of your own has bitfit and ia3 too"
    )
    selections: Distinct[Name] = key(["none"], "whose molecules each is trained on")
    start: Start = key("encoder", START)
    methods: Entries = key(
        METHODS,
        "options of each; training keys override those of finetune; an entry names its method where the name differs: "
        "{method: lora, rank: 4}",
    )


class Featured(Entry):
    """What every descriptor model may say besides its own options."""

    features: Several[Feature] = Field(
        ["descriptors"],
        description="what it knows of a molecule: RDKit descriptors, log counts of Morgan fingerprints (radius 2, "
        "2,048 columns), the output of the study's encoder before any adaptation",
    )


class Baselines(Section):
    """Descriptor models, in every table: regressors on features of molecules that no training changes."""

    run: Distinct[Name] = key(
        ["svr_morgan", "svr_frozen"],
        "models that are fitted, by their names below; a target of your own has svr, svr_all and gradient_boosting too",
    )
    selections: Distinct[Name] | None = key(
        None,
        "strategies whose molecules each is also fitted on, beside the training molecules; null: all and "
        "influence, where they are in selection.run; []: none",
    )
    uses: Distinct[Name] = key(
        [],
        "uses, by their names in use.uses, in which each is fitted on these selections too: as equals (mixed) it is "
        "anyway; auto is the one with the lowest held-out error on the target",
        [["weighted", "own_head", "auto"]],
    )
    largest: Count = key(
        10_000,
        "molecules that one may be fitted on with a selection: a support vector machine's time grows with their square",
    )
    methods: Entries = key(
        DESCRIPTOR_MODELS,
        "options of each; an entry names its model where the name differs: {model: svr, features: [embeddings]}",
    )
