"""The report, from small tables that are made here."""

import base64
import html
import json
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from jinja2 import UndefinedError
from scipy import stats

from chemsieve.report import blocks, rendering, words
from chemsieve.report import control as control_section
from chemsieve.report.control import auroc
from chemsieve.report.influence import agreement
from chemsieve.report.page import render
from chemsieve.statistics.comparisons import compare
from chemsieve.tables import TABLES
from helpers.reports import CONFIG, HOSTILE, STRATEGIES, Page, make, study_tables


@pytest.fixture(scope="module")
def tables():
    return study_tables()


@pytest.fixture(scope="module")
def page(tables, tmp_path_factory):
    return make(tmp_path_factory.mktemp("report"), tables)


# Files beside the page that it links: they are opened where a reader follows the link, and not by the page.
LISTS = {f"selected/{name}.csv" for name in STRATEGIES}


def test_page_needs_nothing_but_itself(page):
    assert len(page.html.encode()) < 10e6
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    for tag, attrs in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "xlink:href", "action"):
            if (tag, name) != ("a", "href") or attrs.get(name) not in LISTS:
                assert attrs.get(name, "#").startswith(("#", "data:")), (tag, attrs[name])
    style = re.search(r"<style>(.*?)</style>", page.html, re.S).group(1)
    assert "url(" not in style
    assert "@import" not in style


def test_same_tables_give_the_same_bytes(page, tables, tmp_path):
    assert make(tmp_path, tables).html == page.html


def test_identifiers_are_unique_and_links_lead_somewhere(page):
    assert len(page.ids) == len(set(page.ids))
    links = {attrs["href"] for tag, attrs in page.tags if tag == "a"}
    assert links >= LISTS
    assert links - LISTS
    assert links - LISTS <= {f"#{name}" for name in page.ids}


def test_every_figure_is_json_with_a_sentence(page):
    plots = [attrs["id"] for _, attrs in page.tags if attrs.get("class") == "plot"]
    assert set(page.figures) == set(plots)
    assert all(figure["data"] for figure in page.figures.values())
    assert sum(tag == "figcaption" for tag, _ in page.tags) == len(plots)


def test_text_from_the_data_is_escaped(page):
    assert HOSTILE in page.text  # the parser has unescaped it: it was text
    assert HOSTILE not in page.html
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert len(scripts) == len(page.figures) + 2
    assert "<script" not in json.dumps(page.figures)
    assert page.figures["data-labels"]["layout"]["xaxis"]["title"]["text"] == "logP &lt;x&gt; (log units)"


HOSTILE_BLOCKS = [
    blocks.Paragraph(HOSTILE),
    blocks.Heading(HOSTILE),
    blocks.Alarm(HOSTILE),
    blocks.Answer([HOSTILE], HOSTILE),
    blocks.Code(HOSTILE, HOSTILE),
    blocks.Terms([("term-x", HOSTILE, HOSTILE)]),
    blocks.Bullets([HOSTILE]),
    blocks.Files([(HOSTILE, HOSTILE, HOSTILE)]),
    blocks.Tiles([(HOSTILE, HOSTILE)]),
    blocks.Folded(HOSTILE, [blocks.Folded(HOSTILE, [blocks.Paragraph(HOSTILE)])]),
    blocks.table(HOSTILE, [HOSTILE], [[HOSTILE]], notes=[HOSTILE]),
    blocks.Figure(HOSTILE, go.Figure(go.Scatter(x=[1], y=[2], name=HOSTILE)), HOSTILE, 100),
    blocks.Gallery([blocks.Card(HOSTILE, HOSTILE, [HOSTILE], image) for image in ("", "AAAA")], 10, 10),
]


@pytest.mark.parametrize("block", HOSTILE_BLOCKS, ids=lambda block: block.kind)
def test_every_block_escapes_what_it_holds(block):
    content = rendering.html("section.html.j2", section=blocks.Section(HOSTILE, HOSTILE, [block]))
    assert HOSTILE not in content
    tags = Page(content).tags
    assert sum(tag == "script" for tag, _ in tags) == (block.kind == "Figure")
    known = {"id", "class", "scope", "type", "style", "src", "alt", "title", "width", "height"}
    known |= {"href"} if block.kind == "Files" else {"role", "aria-label"} if block.kind == "Figure" else set()
    assert {name for _, attributes in tags for name in attributes} <= known


def test_every_kind_of_block_is_tried():
    assert {type(block) for block in HOSTILE_BLOCKS} == set(blocks.Block.__subclasses__())


def test_a_template_that_lacks_a_value_is_an_error():
    with pytest.raises(UndefinedError, match="section"):
        rendering.html("section.html.j2")


def test_hostile_names_of_strategies_are_escaped_in_figures(tables, tmp_path):
    changed = dict(tables)
    for name in ("selections", "metrics"):
        column = "strategy" if name == "selections" else "selection"
        changed[name] = tables[name].assign(**{column: tables[name][column].replace("influence_bottom", HOSTILE)})
    page = make(tmp_path, changed)
    assert HOSTILE not in page.html
    assert "<script" not in json.dumps(page.figures)
    for figure in ("strategies-rmse-0", "comparisons-heatmap-0"):
        assert "&lt;script&gt;" in json.dumps(page.figures[figure])


def test_first_screen_shows_the_comparisons_with_the_controls(page, tables):
    test = tables["metrics"].query("fold == 'test' and origin == 'adapted' and method == 'full'")
    by_seed = test.pivot(index="seed", columns="selection", values="rmse")
    rows = {(row["strategy"], row["compared with"]): row for row in page.table("Gain of each arm")}
    compared = compare(tables["metrics"], tables["splits"], CONFIG["statistics"]).set_index(
        ["family", "what", "versus"]
    )
    for strategy, control in [("random", "none"), ("influence", "none"), ("influence", "random")]:
        differences = by_seed[strategy] - by_seed[control]
        row, known = rows[strategy, control], compared.loc[("selections", strategy, control)]
        assert row["gain"] == f"{-differences.mean():+.3f}"
        assert row["sd"] == f"{differences.std(ddof=1):.3f}"
        assert row["units"] == "3"
        assert row["interval"] == f"{-known['high']:+.3f} to {-known['low']:+.3f}"
        assert row["verdict"].split(":")[0] == known["verdict"].split(":")[0].replace("cannot tell", "undecided")
    assert ("adapted", "baseline") in rows
    assert ("none", "random") not in rows
    assert "Seeds of one split are no independent replicates of a method" in page.text
    assert "All this holds for the one split that was made" in page.text
    errors = [float(rows["influence", "random"][name]) for name in ("test RMSE", "of the other")]
    assert errors == pytest.approx([by_seed["influence"].mean(), by_seed["random"].mean()], abs=5e-4)


def shifted(tables, **changes):
    """The tables with errors of fully fine-tuned selections moved, and the noise of the runs taken down."""
    metrics = tables["metrics"].copy()
    metrics["rmse"] = 0.8 + (metrics["rmse"] - 0.8) / 20
    for selection, change in changes.items():
        chosen = (metrics["method"] == "full") & (metrics["selection"] == selection)
        metrics.loc[chosen & (metrics["origin"] == "adapted"), "rmse"] += change
    return {**tables, "metrics": metrics}


def test_the_answer_stands_in_words(tables, tmp_path):
    page = make(tmp_path, shifted(tables, influence=-0.1, influence_bottom=0.2))
    change = r"falls from 0\.8\d+ to 0\.7\d+ log units, by 0\.\d+ \(0\.\d+ to 0\.\d+\)\."
    assert re.search(r"Add the 10 molecules of influence: the test RMSE " + change, page.text)
    assert re.search(r"That is better than as many drawn at random, by 0\.\d+ to 0\.\d+\.", page.text)
    assert "Influence_bottom would make it worse." not in page.text, "names keep their case"
    assert "influence_bottom would make it worse." in page.text
    assert "Judged on the scaffold split by 3 seeds of one split, 5 test molecules each" in page.text
    verdicts = {(row["strategy"], row["compared with"]): row["verdict"] for row in page.table("Gain of each arm")}
    assert re.fullmatch(r"better than random by 0\.\d+ to 0\.\d+ \(this split alone\)", verdicts["influence", "random"])
    assert verdicts["random", "none"] == "equivalent to none (within 0.05, this split alone)"


def test_all_pairs_stand_in_the_heat_map_with_their_verdicts(page, tables):
    (heatmap,) = page.figures["comparisons-heatmap-0"]["data"]
    assert heatmap["y"] == ["random", "influence", "influence_bottom"]
    assert heatmap["x"] == ["none", "random", "influence"]
    compared = compare(tables["metrics"], tables["splits"], CONFIG["statistics"]).query("family == 'selections'")
    for row in compared.itertuples():
        i, j = heatmap["y"].index(row.what), heatmap["x"].index(row.versus)
        assert heatmap["z"][i][j] == pytest.approx(-row.difference), "positive helps"
        assert heatmap["customdata"][i][j].split(":")[0] == row.verdict.split(":")[0].replace(
            "cannot tell", "undecided"
        )
    assert heatmap["z"][0][1] is None  # random against itself
    assert re.search(
        r"changes its RMSE by 0\.\d+ \(sd\); with 3 replicates on 1 split the smallest difference", page.text
    )


def test_descriptors_that_beat_every_language_model_are_named(tables, tmp_path):
    changed = shifted(tables)
    metrics = changed["metrics"]
    metrics.loc[metrics["method"] == "svr", "rmse"] = 0.1
    metrics.loc[metrics["method"] == "gradient_boosting", "rmse"] = 5.0
    page = make(tmp_path, changed)
    said = (
        r"The best descriptor model, svr, trains in seconds and has a test RMSE of 0\.100, lower by 0\.\d+ to 0\.\d+ "
    )
    assert re.search(said + r"than 0\.8\d+: use that instead\.", page.text)
    assert page.text.count("The best descriptor model") == 1, "the others stand in the figure and the table"
    selections, described = page.figures["summary-forest-0"]["data"][:2]
    gains = dict(zip(described["y"], described["x"], strict=True))
    none = changed["metrics"].query("fold == 'test' and origin == 'adapted' and method == 'full'").groupby("selection")
    none = none["rmse"].mean()
    assert gains == pytest.approx({"svr · 0.100": none["none"] - 0.1, "gradient_boosting · 5": none["none"] - 5})
    assert max(selections["x"]) == pytest.approx(none["none"] - none.drop("none").min())


def test_questions_alone_stand_on_the_first_screen(tables, tmp_path):
    asked = {"statistics": CONFIG["statistics"] | {"compare": ["influence vs random", "adaptation"]}}
    page = make(tmp_path, shifted(tables, influence=-0.1), CONFIG | asked)
    rows = {(row["strategy"], row["compared with"]) for row in page.table("Gain of each arm")}
    assert rows == {("influence", "random"), ("adapted", "baseline")}
    assert "The study asks 2 questions (statistics.compare): influence vs random and adaptation." in page.text
    assert re.search(r"influence has a test RMSE of 0\.7\d+ and random of 0\.8\d+: better than random by", page.text)
    assert "descriptor model, " not in page.text.partition("Molecules")[0]
    (heatmap,) = page.figures["comparisons-heatmap-0"]["data"]
    words = [word for row in heatmap["customdata"] for word in row if word]
    assert sum("exploratory" in word for word in words) == len(words) - 1


def test_a_score_above_its_ceiling_is_said_to_say_no_more(tables, tmp_path):
    facts = {"splitter": "scaffold", "split_seed": 0, "seed": 0, "origin": "adapted", "checkpoint": -1}
    facts |= {"kind": "estimator", "low": 0.6, "high": 1.0, "ceiling": 0.43, "ceiling_low": 0.0, "ceiling_high": 0.95}
    rows = [
        facts | {"estimator": name, "datamodelling_score": value, "subsets": 6, "retrain_seeds": 2}
        for name, value in (("exact", 1.0), ("lissa", 0.2))
    ]
    text = make(
        tmp_path, {**tables, "influence_validation": pd.DataFrame(rows)[list(TABLES["influence_validation"])]}
    ).text
    assert "limit any score to 0.43 (0.00 to 0.95)" in text
    assert "Above that limit, which none can truly be, stands exact:" in text


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 8, 40).astype(float), rng.random(40) < 0.4
    above = np.sign(scores[positive][:, None] - scores[~positive][None]) / 2 + 0.5
    assert auroc(scores, positive) == pytest.approx(above.mean())
    assert np.isnan(auroc(scores, np.ones(40, bool)))


def test_control_shows_shares_and_auroc_of_each_replicate(page, tables):
    joined = tables["selections"].merge(tables["pool_control"], on="molecule_id")
    rows = {(row["strategy"], row["seed"]): row for row in page.table("The same for each replicate")}
    values = []
    for seed in (0, 1, 2):
        ranking = joined[(joined["strategy"] == "influence") & (joined["seed"] == seed)]
        bad = ranking["group"] == "corrupted_label"
        u = stats.mannwhitneyu(ranking.loc[~bad, "score"], ranking.loc[bad, "score"]).statistic
        values.append(u / (bad.sum() * (~bad).sum()))
        row = rows["influence", str(seed)]
        assert row["AUROC, corrupted last"] == f"{values[-1]:.3f}"
        assert row["corrupted_label"] == f"{bad[ranking['selected']].mean():.3f}"
    (summary,) = [row for row in page.table("Share of each group") if row["strategy"] == "influence"]
    taken = joined[(joined["strategy"] == "influence") & joined["selected"]]["group"] == "corrupted_label"
    assert summary["corrupted, points against blind drawing"] == f"{100 * (taken.mean() - 1 / 3):+.1f}"
    assert summary["AUROC, corrupted last"] == words.spread(np.mean(values), np.std(values, ddof=1), 3)
    assert "computed Crippen logP plus noise" in page.text


def test_without_control_there_is_no_such_section(tables, tmp_path):
    rest = {name: frame for name, frame in tables.items() if name != "pool_control"}
    config = {**CONFIG, "target": {"name": "logD", "source": "file"}}
    page = make(tmp_path, rest, config)
    assert "control" not in page.ids
    assert "Crippen" not in page.text


def test_diagnostics_warn_of_solves_that_did_not_converge(page):
    assert "12 of 24 solves did not converge (lissa)" in page.text


def test_agreement_is_the_mean_spearman_over_replicates(tables):
    scores = tables["influence"].query("origin == 'adapted' and estimator == 'lissa'")
    expected = [
        stats.spearmanr(*(model.query(f"checkpoint == {c}")["influence"] for c in (1, 2))).statistic
        for _, model in scores.groupby("seed")
    ]
    matrix = agreement(scores, "checkpoint")
    assert matrix.loc[1, 2] == pytest.approx(np.mean(expected))
    assert matrix.loc[1, 1] == pytest.approx(1)


def test_scaffolds_shared_between_folds_are_counted(page, tables):
    joined = tables["splits"].merge(tables["molecules"], on="molecule_id")
    rings = joined[joined["scaffold"] != ""]
    train, test = (set(rings.loc[rings["fold"] == fold, "scaffold"]) for fold in ("train", "test"))
    (row,) = page.table("Molecules per fold")
    assert row["train and test"] == str(len(train & test))
    assert (row["train"], row["validation"], row["test"]) == ("20", "5", "5")


def test_one_replicate_carries_no_verdict(tmp_path):
    page = make(tmp_path, study_tables(seeds=(7,)))
    words = {row["verdict"] for row in page.table("Gain of each arm")}
    assert words == {"undecided with 1 seed of one split"}
    assert "Nothing can be concluded yet: 1 seed of one split cannot show how large the noise is" in page.text
    assert "carry no verdict" in page.text


def test_tables_with_nothing_to_show_are_said_to_be_empty(tables, tmp_path):
    metrics = tables["metrics"]
    metrics = metrics[(metrics["method"] == "full") & (metrics["selection"] == "none")]
    empty = {name: tables[name].iloc[:0] for name in ("influence", "influence_diagnostics", "selections", "rejected")}
    curves = tables["learning_curves"]
    changed = {**tables, **empty, "metrics": metrics, "learning_curves": curves[curves["stage"] == "regression"]}
    text = make(tmp_path, changed, {}).text
    for sentence in (
        "No row was rejected.",
        "No influence was computed",
        "no estimator solved for its scores",
        "there is no grid to show",
        "No strategy ranked the pool",
        "no strategy ranked the pool.",
        "The encoder was not adapted",
        "No descriptor model was run.",
    ):
        assert sentence in text


def test_adaptation_is_shown_by_all_that_it_learns(page, tables, tmp_path):
    caption = "What it tells of held-out molecules, before adaptation and after it"
    assert {row["figure"] for row in page.table(caption)} == {"masked tokens found"}
    assert "pool molecules too" not in page.text
    curves = tables["learning_curves"].copy()
    adapted = curves["stage"] == "mlm"
    # The loss is lowest in the last epoch, the second.
    curves.loc[adapted, "descriptors_r2"] = [0.125, 0.875, 0.625]
    curves.loc[adapted, "pool_molecules"] = 17
    page = make(tmp_path, {**tables, "learning_curves": curves})
    (row,) = (row for row in page.table(caption) if row["figure"] == "R2 of descriptors")
    assert [float(row[name]) for name in ("before", "at the lowest epoch")] == [0.125, 0.625]
    assert "adapted to the structures of 17 pool molecules too" in page.text


@pytest.mark.parametrize(("best", "said"), [(0.2, False), (-0.1, True)])
def test_models_no_better_than_the_mean_are_said_to_be_so(tables, tmp_path, best, said):
    metrics = tables["metrics"].copy()
    metrics["r2"] = np.where(metrics["origin"] == "descriptors", 0.8, -0.5)
    metrics.loc[(metrics["method"] == "full") & (metrics["selection"] == "random"), "r2"] = best
    text = make(tmp_path, {**tables, "metrics": metrics}, {}).text
    assert ("no language model predicts better than the mean label" in text) == said
    assert ("the largest mean R2 of a configuration is -0.1" in text) == said


def test_cut_labels_are_said_to_be_cut(page, tables, tmp_path):
    assert "labels of this study are cut" not in page.text
    cut = {**CONFIG, "target": {**CONFIG.get("target", {}), "binarise": "mean"}}
    assert "labels of this study are cut" in make(tmp_path, tables, cut).text


def test_leaks_stand_on_the_first_screen_and_their_evidence_below(tables, tmp_path):
    leak = f"labels are computed {HOSTILE}"
    split = {"splitter": "scaffold", "split_seed": 0}
    audit = [("labels", "leak", "scaffold", 0, leak, 3, 30), ("shift", "note", "", None, "they differ", None, None)]
    rules = {"kind": "nearest neighbours", "features": "ECFP4", "bits": 2048, "metric": "euclidean", "k": 5}
    rules |= {"weighting": "uniform", "map": "equal", "slope": 1.0, "intercept": 0.0, "rows": 20, "matched": 19}
    rules |= {"expected": 0.1, "p_value": 1e-9, "found": True}
    sources = [(i, 0.5 * i, 0.5 * i, "exact", [1], [1.0], [], [], [1]) for i in range(4)]
    treatment = {"labels": "as_given", "leaks": "keep", "accepted": 30, "computed": 29, "validation": 4, "test": 7}
    treatment |= {"validation_used": 4, "test_used": 7, "rows": 30, "validation_rows": 4, "test_rows": 7, "kept": 30}
    treatment |= {"dropped": 0, "relabelled": 0, "mean_change": 0.0, "largest_change": 0.0}
    nearest = pd.DataFrame({"molecule_id": [f"target-{i}" for i in range(25, 30)], "fold": "test"}).assign(**split)
    found = {
        "audit": pd.DataFrame(audit, columns=list(TABLES["audit"])),
        "audit_labels": pd.DataFrame([rules]),
        "label_sources": pd.DataFrame(sources, columns=list(TABLES["label_sources"])),
        "pool_treatment": pd.DataFrame([split | treatment]),
        "nearest_training": nearest.assign(nearest_id="target-0", similarity=[0.1, 0.2, 0.3, 0.4, 0.5]),
        "audit_identity": pd.DataFrame(
            [{**split, "place": "test", "other": "train", "level": "InChIKey", "molecules": 2, "of": 5}]
        ),
        "audit_shift": pd.DataFrame(
            [("logP", 1.0, 1.0, 2.0, 1.0, 1.0, 0.3, 0.01, 30, 30), ("embedding", *[None] * 5, 0.02, 0.001, 30, 30)],
            columns=list(TABLES["audit_shift"]),
        ),
    }
    page = make(tmp_path, {**tables, **found})
    first = page.html[page.html.index('id="summary"') : page.html.index("</section>")]
    assert "labels are computed &lt;script&gt;" in first
    assert "here and the audit's question whether pool labels were computed from them. Nothing" in html.unescape(first)
    assert "Nothing is trained or chosen by them." in first
    assert HOSTILE not in page.html
    assert [row["severity"] for row in page.table("What the audit found")] == ["leak", "note"]
    (rule,) = page.table("Rules that come closest")
    assert (rule["labels"], rule["met"], rule["found"]) == ("20", "19", "yes")
    (treated,) = page.table("The pool of each split")
    assert (treated["on test labels"], treated["used"]) == ("7", "30")
    assert {"labels-rule", "shift-properties", "data-hardness"} <= set(page.figures)
    drawn = page.figures["data-hardness"]["data"][0]["x"]
    assert np.frombuffer(base64.b64decode(drawn["bdata"]), drawn["dtype"]) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_first_screen_says_what_read_the_labels_of_test_molecules(page, tables, tmp_path):
    assert "are read for the errors shown here. Nothing" in page.html
    treatment = pd.DataFrame([dict.fromkeys(TABLES["pool_treatment"], 1)]).assign(splitter="scaffold", dropped=7)
    text = ("labels", "leaks")
    found = {"pool_treatment": treatment.assign(**dict.fromkeys(text, "drop"))}
    # What explains single test errors; no row is enough to say that it was asked for.
    found |= {"influence_on_test": pd.DataFrame(columns=list(TABLES["influence_on_test"]))}
    treated = make(tmp_path, {**tables, **found}).html
    assert "are read for the errors shown here and the explanations of single test errors. Nothing" in treated
    assert "Nothing is trained or chosen by them, except that pool labels were treated" in treated


def test_what_failed_stands_on_the_first_screen(tables, tmp_path):
    rows = [("influence", f"scaffold/0/{seed}/adapted/2/lissa", "it diverged", "", "a.log", "f") for seed in (0, 1)]
    rows.append(
        ("selection", "scaffold/0/0/influence", "it diverged", "influence scaffold/0/0/adapted/2/lissa", "", "")
    )
    failed = pd.DataFrame(rows, columns=list(TABLES["failures"]))
    page = make(tmp_path, {**tables, "failures": failed})
    assert "1 part of this study failed" in page.text
    assert (
        "influence lissa: 2 steps failed; scaffold/0/0/adapted/2/lissa said: it diverged (a.log). Without, 1 further "
        "step could not be made." in page.text
    )


def test_an_estimator_that_failed_is_said_to_have_no_scores(tables, tmp_path):
    diagnostics = tables["influence_diagnostics"].copy()
    diagnostics["failure"] = [None] * (len(diagnostics) - 1) + ["it diverged"]
    assert "1 of" in (text := make(tmp_path, {**tables, "influence_diagnostics": diagnostics}).text)
    assert "failed and gave no score" in text


def test_what_the_pool_did_for_descriptor_models_stands_beside_the_language_model(page, tables):
    rows = page.table("Test RMSE by model and selection")
    assert [row["trained on"] for row in rows] == ["none", "random", "influence"]
    test = tables["metrics"][tables["metrics"]["fold"] == "test"]
    for row in rows:
        of = test[test["selection"] == row["trained on"]]
        full = of[(of["origin"] == "adapted") & (of["method"] == "full")]["rmse"]
        assert row["language model"] == words.spread(full.mean(), full.std())
        own = of[of["method"] == "svr"]["rmse"]
        assert row["svr"] == words.spread(own.mean(), own.std())
    assert [row["gradient_boosting"] == words.MISSING for row in rows] == [False, True, True]
    # Elsewhere a descriptor model is the one without pool molecules.
    alone = test[(test["method"] == "svr") & (test["selection"] == "none")]["rmse"].mean()
    names = [name for trace in page.figures["summary-forest-0"]["data"] for name in trace["y"]]
    assert f"svr · {words.number(alone, 3)}" in names


def test_a_section_that_cannot_be_made_is_left_out_and_named(tables, tmp_path, monkeypatch):
    make(tmp_path, tables)
    monkeypatch.setattr(control_section, "section", lambda study: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        render(tmp_path / "tables", CONFIG, tmp_path / "report.html")
    render(tmp_path / "tables", CONFIG, tmp_path / "report.html", go_on=True)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "the section control of this report (ZeroDivisionError: division by zero)" in page.text
    assert "Positive control" not in page.text


def test_runs_on_several_kinds_of_machine_are_named(page, tables, tmp_path):
    runs = tables["metrics"].query("origin != 'descriptors'")["run_id"].nunique()
    assert f"one kind of machine: {runs} runs on cpu in float32 (x86_64 avx2)." in page.text
    metrics = tables["metrics"].copy()
    metrics.loc[metrics["run_id"] == metrics["run_id"].iloc[0], "precision"] = "bfloat16"
    text = make(tmp_path, {**tables, "metrics": metrics}).text
    assert f"2 kinds of machine: 1 run on cpu in bfloat16 (x86_64 avx2) and {runs - 1} runs on cpu in float32" in text


def test_all_tables_empty(tables, tmp_path):
    page = make(tmp_path, {name: frame.iloc[:0] for name, frame in tables.items()}, {})
    assert "There is no run." in page.text


def test_a_wide_table_has_all_columns_and_marks_those_that_are_not_seen_at_first():
    rows = [("influence", 0.5, "better by 0.1 to 0.2 than none", "0.1 to 0.2")]
    made = blocks.table("caption", ["what", "rmse", "verdict", "interval"], rows, shown=2, notes=["a", "b", "", "d"])
    text = rendering.html("section.html.j2", section=blocks.Section("x", "x", [made]))
    assert re.findall(r'<th scope="col"([^>]*)>(\w+)', text) == [
        (' title="a"', "what"),
        (' class="number" title="b"', "rmse"),
        (' class="words more"', "verdict"),
        (' class="more" title="d"', "interval"),
    ]
    assert re.findall(r"<td([^>]*)>", text) == ["", ' class="number"', ' class="words more"', ' class="more"']
    whole = blocks.table("caption", ["what"], [("a",)])
    assert "more" not in rendering.html("section.html.j2", section=blocks.Section("x", "x", [whole]))


def test_numbers_are_shown_with_their_digits():
    shown = [words.number(value) for value in (None, float("nan"), pd.NA, 3, 12345, 0.123456, 1234.567, 1e-7, 0.0)]
    assert shown == ["–", "–", "–", "3", "12,345", "0.1235", "1,235", "1.000e-07", "0"]
    assert words.spread(0.71234, 0.0212) == "0.7123 ± 0.0212"
    assert words.spread(0.71234, float("nan")) == "0.7123"
