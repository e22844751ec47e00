"""What errors can be at best: the labels' own noise, and limits in place of measurements, beside the errors."""

from chemsieve.data import quality
from chemsieve.report.blocks import Block, Paragraph, table
from chemsieve.report.study import Study
from chemsieve.report.words import count, number


def noise_blocks(study: Study) -> list[Block]:
    """What a test error is to be held against; nothing where no molecule was measured twice."""
    molecules = study.molecules
    if "repeats_sd" not in molecules:  # of an earlier release
        return []
    target = molecules[molecules["source"] == "target"]
    if (found := quality.noise(target)) is None:
        return []
    test = study.splits.loc[study.splits["fold"] == "test", "molecule_id"]
    policy = (study.config.get("target") or {}).get("repeats") or quality.FIRST
    floor = quality.floor(found, target[target["molecule_id"].isin(test)], policy)
    unit = f" {study.unit}" if study.unit else ""
    rough = "" if found.free >= quality.FEW_REPEATS else "It rests on too few repeats to rely on. "
    copies = (
        f" Of {count(found.identical, 'molecule')} all labels are equal, which may be copies of one measurement and "
        "make it too small."
        if found.identical
        else ""
    )
    return [
        Paragraph(
            f"No model can have a test RMSE below about {number(floor, 3)}{unit}, but by chance or by knowing the "
            f"errors of the labels: that is the noise of the test labels themselves. {rough}It follows from "
            f"{found.repeats:,} measurements of {count(found.molecules, 'molecule')} (pooled standard deviation "
            f"{number(found.deviation, 3)}{unit}).{copies}"
        )
    ]


def limits_blocks(study: Study) -> list[Block]:
    """How predictions go with the limits that are known of test molecules, mean over the replicates."""
    limits = study.limits
    if limits is None or limits.empty:
        return []
    axes = ["splitter", "origin", "method", "selection", "use"]
    named = study.test[["run_id", *axes, "rmse"]] if "use" in study.test else study.test.assign(use="mixed")
    rows = limits.merge(named[["run_id", *axes, "rmse"]], on="run_id")
    measures = ["limits", "met", "measured", "rmse", "censored_rmse"]
    shown = rows.groupby(axes, sort=False)[measures].mean().reset_index()
    unit = f" ({study.unit})" if study.unit else ""
    return [
        Paragraph(
            "Some labels are limits (<, >) and no measurements. Errors elsewhere on this page are those of measured "
            "labels. Here the predictions of test molecules with a limit are held against it: how many lie on its "
            "right side, and the root mean square of all errors where an error is 0 on the right side of a limit and "
            "the distance from it on the other."
        ),
        table(
            "Predictions and limits, mean over the replicates",
            [*axes, "limits", "met", "measured", f"RMSE, measured{unit}", f"RMSE with limits{unit}"],
            [
                (*(row[axis] for axis in axes), *(number(row[name], 3) for name in measures))
                for row in shown.to_dict("records")
            ],
            sortable=True,
        ),
    ]


def both(study: Study) -> list[Block]:
    """All that is to be said beside errors."""
    return [*noise_blocks(study), *limits_blocks(study)]
