"""What runs leave behind: curves, predictions, errors, comparisons of errors, failures."""

from chemsieve.tables.declaration import (
    FLAG,
    INTEGER,
    LABEL_UNIT,
    MOLECULE,
    REAL,
    RUN,
    SEED,
    SPLIT,
    TEXT,
    Column,
    Plan,
    Table,
    always,
)


def _swept(plan: Plan) -> bool:
    return bool(plan.budget_points)


def _compared(prefix: str, difference: str) -> dict[str, Column]:
    """Columns of a difference: those of one model's points, or of its areas, are judged together."""
    ends = {"low": "lower end of its simultaneous interval", "high": "upper end of it"}
    return {
        f"{prefix}difference": Column(REAL, f"{difference}; negative is better", LABEL_UNIT, nullable=True),
        **{f"{prefix}{name}": Column(REAL, said, LABEL_UNIT, nullable=True) for name, said in ends.items()},
        f"{prefix}verdict": Column(TEXT, "what can be said of it; empty where it is not made"),
    }


TABLES = {
    "learning_curves": Table(
        "run and epoch, adaptation and fine-tuning",
        {
            "run_id": RUN,
            "stage": Column(TEXT, "mlm or regression"),
            "epoch": Column(INTEGER, "epoch, from 1; 0 is before training"),
            "train_loss": Column(REAL, "mean training loss over the epoch (standardised labels)", nullable=True),
            "validation_loss": Column(
                REAL, "loss on held-out molecules (standardised labels); for the stage mlm the sum of the objectives"
            ),
            "validation_rmse": Column(REAL, "validation RMSE", LABEL_UNIT, nullable=True),
            "learning_rate": Column(REAL, "learning rate at the end of the epoch", nullable=True),
            "gradient_norm": Column(REAL, "mean gradient norm before clipping", nullable=True),
            "seconds": Column(REAL, "wall time of the epoch, validation included", "s", nullable=True),
            "evaluation_seconds": Column(REAL, "wall time of its pass over the held-out molecules", "s", nullable=True),
            "masked_accuracy": Column(REAL, "fraction of masked tokens found, for the stage mlm", nullable=True),
            "masked_loss": Column(
                REAL, "loss on masked tokens of held-out molecules, for the stage mlm", "nats", nullable=True
            ),
            "descriptors_r2": Column(REAL, "R2 of the descriptors that adaptation learns, held out", nullable=True),
            "morgan_r2": Column(REAL, "R2 of the Morgan fragments that it learns, held out", nullable=True),
            "teacher_r2": Column(REAL, "R2 of the teacher's vectors that it learns, held out", nullable=True),
            "pool_molecules": Column(
                INTEGER, "pool molecules whose structures it learns from, for the stage mlm", nullable=True
            ),
        },
        made=always,
        collected=lambda plan: plan.curves,
    ),
    "metrics": Table(
        "run and fold",
        {
            "run_id": RUN,
            "study": Column(TEXT, "name of the study"),
            **SPLIT,
            "seed": SEED,
            "origin": Column(
                TEXT, "baseline, adapted, continued (from the fine-tuned adapted regressor) or descriptors"
            ),
            "method": Column(TEXT, "full, bitfit, lora, ia3, svr, gradient_boosting, ..."),
            "selection": Column(TEXT, "strategy whose pool molecules were added; none and all are controls"),
            "use": Column(
                TEXT,
                "how they were trained on: mixed, as equals of the target's, or another use of use.run; mixed for none",
            ),
            "n_train": Column(INTEGER, "training molecules, selected ones included"),
            "n_selected": Column(INTEGER, "pool molecules among them"),
            "trainable_parameters": Column(INTEGER, "parameters that training changed", nullable=True),
            "total_parameters": Column(INTEGER, "parameters of the model", nullable=True),
            "fold": Column(TEXT, "validation or test"),
            "mse": Column(REAL, "mean squared error", f"squared {LABEL_UNIT}"),
            "rmse": Column(REAL, "root mean squared error", LABEL_UNIT),
            "mae": Column(REAL, "mean absolute error", LABEL_UNIT),
            "r2": Column(REAL, "coefficient of determination; missing where labels are constant", nullable=True),
            "spearman": Column(REAL, "Spearman correlation; missing where either side is constant", nullable=True),
            "best_epoch": Column(INTEGER, "epoch with the lowest validation loss, which was restored", nullable=True),
            "epochs": Column(INTEGER, "epochs run", nullable=True),
            "train_seconds": Column(REAL, "wall time of training", "s"),
            "peak_memory_mb": Column(REAL, "peak resident memory of the process", "MB"),
            "device": Column(TEXT, "cpu or the GPU's name"),
            "precision": Column(TEXT, "of the matrix products in training: float32, bfloat16 or float64"),
            "threads": Column(INTEGER, "torch's threads; missing for descriptor models", "threads", nullable=True),
            "instruction_set": Column(TEXT, "of the processor, and limits that the environment set on its use"),
        },
        made=always,
    ),
    "predictions": Table(
        "run and molecule",
        {
            "run_id": RUN,
            "molecule_id": MOLECULE,
            "fold": Column(TEXT, "validation or test"),
            "label": Column(REAL, "label", LABEL_UNIT),
            "prediction": Column(REAL, "prediction", LABEL_UNIT),
        },
        made=always,
    ),
    "limits": Table(
        "run: its predictions of the test molecules of which a limit is known (target.censored: censored); the errors "
        "of `metrics` and the rows of `predictions` are those of measured labels",
        {
            "run_id": RUN,
            "limits": Column(INTEGER, "test molecules whose label is a limit"),
            "met": Column(INTEGER, "of these, predictions on the limit's right side"),
            "measured": Column(INTEGER, "test molecules with a measured label"),
            "censored_rmse": Column(
                REAL,
                "root mean square of the errors of both, that of a limit being 0 on its right side and else the "
                "distance from it",
                LABEL_UNIT,
            ),
        },
        made=lambda plan: plan.censored,
        optional=True,
    ),
    "plan": Table(
        "number of splits and seeds: the smallest difference that it would probably show (the target plan)",
        {
            "splitter": SPLIT["splitter"],
            "splits": Column(INTEGER, "splits"),
            "seeds": Column(INTEGER, "training seeds of each"),
            "detectable": Column(
                REAL,
                "smallest true difference of RMSE that paired t tests at Bonferroni's level would find with "
                "statistics.power; missing with fewer than two units",
                LABEL_UNIT,
                nullable=True,
            ),
            "enough": Column(FLAG, "whether that is at most the difference that is wished"),
            "seconds": Column(REAL, "of training, one after the other", "s"),
            "wished": Column(REAL, "statistics.margin", LABEL_UNIT),
            "source": Column(TEXT, "of the components and the seconds: measured in this study, or assumed"),
            "split_sd": Column(REAL, "standard deviation of a difference between splits", LABEL_UNIT),
            "seed_sd": Column(
                REAL,
                "between the seeds of a split; missing where no split has two, and it is part of split_sd",
                LABEL_UNIT,
                nullable=True,
            ),
            "test_error": Column(
                REAL, "standard error of a difference by the test molecules alone", LABEL_UNIT, nullable=True
            ),
        },
    ),
    "comparisons": Table(
        "two configurations compared: difference, interval, tests, verdict in words",
        {
            "splitter": SPLIT["splitter"],
            "family": Column(
                TEXT,
                "selections, adaptation, methods on a selection, uses of one, descriptors, or selections of a "
                "descriptor model: tested together",
            ),
            "question": Column(
                TEXT, "entry of statistics.compare that asks for it; empty where none does, so that it is exploratory"
            ),
            "level": Column(REAL, "error probability that its question, or its family where it is exploratory, has"),
            "what": Column(TEXT, "configuration, as it is called in its family"),
            "versus": Column(TEXT, "what it is compared with"),
            "method": Column(TEXT, "training method of the former"),
            "n_replicates": Column(INTEGER, "replicates (split and seed) that all configurations of the family have"),
            "n_splits": Column(INTEGER, "distinct splits among them"),
            "n_units": Column(INTEGER, "independent units: the splits, seeds averaged, or with one split the seeds"),
            "error": Column(REAL, "mean test RMSE of the former", LABEL_UNIT, nullable=True),
            "error_versus": Column(REAL, "mean test RMSE of what it is compared with", LABEL_UNIT, nullable=True),
            "r2": Column(REAL, "mean test R2 of the former", nullable=True),
            "r2_versus": Column(REAL, "mean test R2 of what it is compared with", nullable=True),
            "difference": Column(
                REAL, "mean difference of the test RMSE; negative is better", LABEL_UNIT, nullable=True
            ),
            "median": Column(
                REAL, "median of the averages of all pairs of differences (Hodges-Lehmann)", LABEL_UNIT, nullable=True
            ),
            "sd": Column(
                REAL, "standard deviation of the paired differences over the units", LABEL_UNIT, nullable=True
            ),
            "low": Column(REAL, "lower end of the simultaneous interval of the difference", LABEL_UNIT, nullable=True),
            "high": Column(REAL, "upper end of the simultaneous interval of the difference", LABEL_UNIT, nullable=True),
            "molecules": Column(INTEGER, "test molecules of a split", nullable=True),
            "molecules_sd": Column(
                REAL,
                "standard error of the difference that comes from the choice of test molecules; with one split the "
                "interval has it",
                LABEL_UNIT,
                nullable=True,
            ),
            "molecules_needed": Column(
                INTEGER, "test molecules of a split that the margin would take, where it has too few", nullable=True
            ),
            "omnibus": Column(
                REAL,
                "p that the family is equal: repeated-measures ANOVA, or Friedman (of two alone, Wilcoxon)",
                nullable=True,
            ),
            "p_tukey": Column(REAL, "p of no difference, Tukey HSD on repeated measures", nullable=True),
            "p_paired": Column(
                REAL,
                "p of no difference, the pair's own t test (with one split, the noise of its test molecules included; "
                "corrected for skewness), adjusted by Bonferroni",
                nullable=True,
            ),
            "p_conover": Column(
                REAL,
                "p of no difference, Conover after Friedman, adjusted by Holm; of two alone, Wilcoxon",
                nullable=True,
            ),
            "p_equivalence": Column(
                REAL, "p of a difference beyond the margin, two one-sided tests, adjusted by Holm", nullable=True
            ),
            "cohen_dz": Column(REAL, "difference over the standard deviation of the differences", nullable=True),
            "cohen_dav": Column(REAL, "difference over the mean standard deviation of the two", nullable=True),
            "seed_sd": Column(
                REAL, "noise floor: standard deviation between seeds, pooled over the family", LABEL_UNIT, nullable=True
            ),
            "detectable": Column(
                REAL, "smallest difference that this design detects at the stated power", LABEL_UNIT, nullable=True
            ),
            "replicates_needed": Column(
                INTEGER, "units that would tell the difference, or equivalence; missing beyond 1,000", nullable=True
            ),
            "test_used": Column(TEXT, "test whose interval decides: Tukey, paired t (corrected for skewness), or none"),
            "verdict": Column(TEXT, "what can be said, in words"),
        },
        made=always,
    ),
    "budget_curves": Table(
        "model, strategy and budget of selection.budgets",
        {
            "splitter": SPLIT["splitter"],
            "origin": Column(TEXT, "origin of the model, as in metrics"),
            "method": Column(TEXT, "full, or the descriptor model"),
            "strategy": Column(TEXT, "selection strategy"),
            "budget": Column(
                TEXT,
                "as selection.budgets has it; 0: without the pool. Runs of it are of the selection strategy@budget",
            ),
            "n_selected": Column(REAL, "pool molecules that it is, mean over replicates"),
            "n_units": Column(INTEGER, "independent units, as in comparisons"),
            "error": Column(REAL, "mean test RMSE", LABEL_UNIT, nullable=True),
            "validation_rmse": Column(REAL, "mean validation RMSE", LABEL_UNIT, nullable=True),
            **_compared("", "test RMSE less that without the pool"),
            **_compared("random_", "test RMSE less that with as many random molecules"),
            "area": Column(
                REAL,
                "mean test RMSE along the curve, over the logarithm of the number of molecules; the same in all rows "
                "of a strategy",
                LABEL_UNIT,
                nullable=True,
            ),
            **_compared("area_", "area less the RMSE without the pool"),
            **_compared("area_random_", "area less that of the random curve"),
            "recommended": Column(
                FLAG, "whether it is the smallest budget that is as good as the best, by validation errors"
            ),
            "recommendation": Column(TEXT, "the same in words"),
        },
        made=_swept,
        optional=True,
    ),
    "failures": Table(
        "step that failed, or could not be made without one that did",
        {
            "rule": Column(TEXT, "step that gave no result"),
            "part": Column(TEXT, "its place on the study's axes: splitter, split seed, seed, ..."),
            "reason": Column(TEXT, "why, as the step that failed said it"),
            "cause": Column(TEXT, "step whose result was needed; empty where the step itself failed"),
            "log": Column(TEXT, "log of the step that failed"),
            "file": Column(TEXT, "where its mark stands; empty where it left none"),
        },
        made=always,
    ),
    "run_predictions": Table(
        "molecule that a run predicts",
        {
            "run_id": RUN,
            "molecule_id": MOLECULE,
            "fold": Column(TEXT, "validation or test"),
            "prediction": Column(REAL, "prediction", LABEL_UNIT),
        },
    ),
}
