"""Every run, and how the numbers of the page are defined."""

import pandas as pd

from chemsieve.report import noise
from chemsieve.report.blocks import Alarm, Block, Bullets, Folded, Heading, Paragraph, Section, table
from chemsieve.report.study import Study, meanings
from chemsieve.report.words import count, listing

# What is shown of the table metrics, errors first; the rest stands there.
COLUMNS = [
    *("splitter", "split_seed", "seed", "origin", "method", "selection", "fold", "rmse", "mae", "r2", "spearman"),
    *("n_train", "n_selected", "best_epoch", "epochs", "trainable_parameters", "train_seconds", "peak_memory_mb"),
]
FIRST = 11  # columns that are seen at first
MOST = 2000  # rows; more would make the page slow and too large to send
CONFIGURATION = ["splitter", "origin", "method", "selection", "fold"]
FOOTNOTES = [
    "RMSE, MAE and MSE are in the unit of the label; losses are of standardised labels.",
    "A replicate is one splitter, split seed and training seed. Differences are paired: both runs share all three. "
    "Intervals are simultaneous, with the share of α that their question has: mean ± q(1 - α, k, df) · √(MS of split × "
    "configuration · (1 / n + n_test / n_train)), or where its assumptions fail mean ± t(1 - α / 2m, n - 1) · sd · "
    "√(1 / n + n_test / n_train), each end the wider of Student's and Hall's. With one split they are mean ± "
    "t(1 - α / 2m, df) · √(sd² / n + variance from the choice of its test molecules).",
    "none adds no pool molecule; random adds as many as a strategy does, drawn blindly; all adds the whole pool.",
    "baseline is the encoder as published, adapted the same after adaptation to the study's molecules; descriptors is "
    "a descriptor model: a classical regression on features of molecules that no training changes (RDKit descriptors, "
    "Morgan fingerprints, the output of the frozen encoder), as baselines.methods says.",
    "full trains every weight. bitfit trains biases, lora low-rank updates, ia3 scaling vectors; the configuration "
    "says whether the regression head is trained beside them.",
    "The epoch that is kept has the lowest validation loss; the last step joins the test labels to the predictions.",
    "I(z) = -∇L(validation)ᵀ H⁻¹ ∇L(z), with the damped Gauss-Newton matrix for H; expected gain is -I(z). "
    "The page shows -I(z) as the expected gain: positive helps. For LiSSA the effective damping is damping × scale.",
    "Training time and peak memory depend on the machine and on what else ran on it.",
]
BINARISED = (
    "The labels of this study are cut: 1 above the mean of the training labels, 0 else, the pool's with them. Its "
    "errors are of these zeros and ones (the MSE is the Brier score) and compare with none in the label's own unit."
)


def averaged(metrics: pd.DataFrame) -> pd.DataFrame:
    """Number of replicates and mean of every measure, per splitter, configuration and fold."""
    groups = metrics.groupby(CONFIGURATION)
    measures = [name for name in metrics.select_dtypes("number") if name not in ("split_seed", "seed")]
    means = groups[measures].mean().astype(float)
    epochs = [name for name in ("best_epoch", "epochs") if name in means]
    means[epochs] = means[epochs].round()  # there are no half ones
    means.insert(0, "replicates", groups.size())
    return means.reset_index()


def _machines(metrics: pd.DataFrame) -> list[Block]:
    """What the language models were trained on; a warning where that differs, since their numbers then do too."""
    trained = metrics[metrics["origin"] != "descriptors"]
    kinds = trained.groupby(["device", "precision", "instruction_set"])["run_id"].nunique()
    said = [f"{count(n, 'run')} on {device} in {precision} ({kind})" for (device, precision, kind), n in kinds.items()]
    if len(kinds) < 2:
        return [Paragraph(f"Language models were trained on one kind of machine: {text}.") for text in said]
    return [
        Alarm(
            f"Language models were trained on {len(kinds)} kinds of machine: {listing(said)}. The same training gives "
            "other weights on another kind, so that differences between such runs hold that noise too."
        )
    ]


def section(study: Study) -> Section:
    """Table of all metrics and footnotes on method."""
    metrics = study.metrics
    if metrics.empty:
        blocks: list[Block] = [Paragraph("There is no run.")]
    else:
        columns = [name for name in COLUMNS if name in metrics]
        shown, caption = metrics.sort_values(["run_id", "fold"], kind="stable")[columns], "All runs"
        if len(shown) > MOST:
            shown, caption = averaged(metrics), "Means over the replicates of each configuration"
        blocks = [
            *noise.both(study),
            *_machines(metrics),
            Folded(
                "All runs, one by one" if len(metrics) <= MOST else "All configurations",
                [
                    Paragraph("Choose a column heading to sort by it, once more to reverse."),
                    table(
                        f"{caption} on the validation and test molecules",
                        [name.replace("_", " ") for name in shown.columns],
                        shown.itertuples(index=False, name=None),
                        sortable=True,
                        shown=FIRST,
                        notes=meanings("metrics", shown.columns),
                    ),
                ],
            ),
        ]
        if len(metrics) > MOST:
            blocks.append(Paragraph(f"The {len(metrics):,} rows of single runs stand in the table metrics."))
    cut = [BINARISED] if (study.config.get("target") or {}).get("binarise") else []
    return Section("runs", "All runs", [*blocks, Heading("Methods"), Bullets([*cut, *FOOTNOTES])])
