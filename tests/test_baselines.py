"""Descriptor baselines on a small synthetic problem, and descriptors against values known by hand."""

from types import SimpleNamespace

import jsonschema
import numpy as np
import pandas as pd
import pytest
from sklearn.svm import SVR

from chemsieve import registry
from chemsieve.baselines import _run
from chemsieve.data.descriptors import descriptor_names, descriptors
from chemsieve.data.features import Features
from chemsieve.data.morgan import morgan
from chemsieve.errors import ChemsieveError
from chemsieve.study.runs import Identity, read_facts
from chemsieve.tables import read_table, write_table
from helpers.workflow import overlay, snakemake

# Options that make each model quick.
QUICK = {
    "gradient_boosting": {"max_iter": 60},
    "random_forest": {"n_estimators": 20},
    "svr": {"C": 5, "epsilon": 0.1, "gamma": 0.03},
    "gaussian_process": {"gamma": 0.003, "noise": 0.1},
}
MODELS = pytest.mark.parametrize("name", sorted(QUICK))


def problem(n=240, seed=0):
    """Labels (mean 100, deviation about 20) that follow two of twelve features; one other is constant, one has gaps."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, 12)) * np.logspace(-3, 3, 12)
    features[:, 5] = 7.0
    features[::9, 6] = np.nan
    labels = 100 + 20 * np.tanh(features[:, 0] / 1e-3) + 10 * (features[:, 11] / 1e3)
    return features, labels


def fitted(name, n_train=160, labels=None, **options):
    features, truth = problem()
    labels = truth if labels is None else labels
    model = registry.load("baselines", name).fit(
        features[:n_train], labels[:n_train], features[160:200], labels[160:200], 0, **{**QUICK[name], **options}
    )
    return model, features, truth


def test_all_models_are_found():
    assert registry.choices("baselines") == sorted(QUICK)


@MODELS
def test_learns_the_relation(name):
    model, features, labels = fitted(name)
    predictions = model.predict(features[200:])
    assert predictions.shape == (40,)
    # Far better than the mean, in the unit of the labels.
    assert np.sqrt(np.mean((predictions - labels[200:]) ** 2)) < 0.6 * labels[200:].std()


@MODELS
def test_is_deterministic(name):
    (first, features, _), (second, _, _) = fitted(name), fitted(name)
    assert (first.predict(features) == second.predict(features)).all()


@MODELS
def test_validation_molecules_are_not_trained_on(name):
    """Without a choice to make, neither their labels nor their features matter."""
    features, labels = problem()
    module = registry.load("baselines", name)
    one = module.fit(features[:160], labels[:160], features[160:200], labels[160:200], 0, **QUICK[name])
    other = module.fit(features[:160], labels[:160], features[160:200] * 9, -labels[160:200], 0, **QUICK[name])
    assert (one.predict(features) == other.predict(features)).all()


@MODELS
def test_a_prediction_does_not_depend_on_the_others(name):
    model, features, _ = fitted(name)
    together = model.predict(features[200:])
    assert model.predict(features[203:204]) == pytest.approx(together[3:4], rel=1e-12)


def test_the_scale_of_features_and_labels_does_not_matter_to_svr():
    features, labels = problem()
    fit = registry.load("baselines", "svr").fit
    scale, shift = np.logspace(4, -4, 12), 3.0
    one = fit(features[:160], labels[:160], features[160:200], labels[160:200], 0, **QUICK["svr"])
    changed = features * scale + shift
    other = fit(changed[:160], 50 * labels[:160] - 1, changed[160:200], labels[160:200], 0, **QUICK["svr"])
    np.testing.assert_allclose(other.predict(changed), 50 * one.predict(features) - 1, rtol=1e-6)


@MODELS
def test_missing_values_count_as_the_training_median(name):
    model, features, _ = fitted(name)
    gap, filled = features[200:].copy(), features[200:].copy()
    gap[:, 11] = np.nan
    filled[:, 11] = np.median(features[:160, 11])
    assert (model.predict(gap) == model.predict(filled)).all()


@MODELS
def test_values_beyond_five_deviations_are_clipped(name):
    model, features, _ = fitted(name)
    far, farther = features[200:].copy(), features[200:].copy()
    far[:, 11], farther[:, 11] = 1e5, 1e9  # the deviation is 1e3
    assert (model.predict(far) == model.predict(farther)).all()


def test_descriptors_are_clipped_at_five_deviations():
    """By a model that sees every distance: five deviations are as far as eight, and four are nearer."""
    model, features, _ = fitted("svr", gamma=0.01)
    training = features[:160, 11]
    answers = {}
    for deviations in (-8, -5, -4, 4, 5, 8):
        row = features[200:].copy()
        row[:, 11] = training.mean() + deviations * training.std()
        answers[deviations] = model.predict(row)
    for side in (1, -1):
        np.testing.assert_allclose(answers[8 * side], answers[5 * side], rtol=1e-12)
        assert np.abs(answers[4 * side] - answers[5 * side]).min() > 1e-6


def test_training_molecules_are_clipped_too():
    features, labels = problem()
    outlier, far = features.copy(), features.copy()
    outlier[0, 11], far[0, 11] = 1e7, 1e9  # of one in 160, both are twelve deviations from the mean
    fit = registry.load("baselines", "svr").fit
    found = [fit(f[:160], labels[:160], f[160:200], labels[160:200], 0, **QUICK["svr"]) for f in (outlier, far)]
    own = found[1].pipeline[:-1].transform(far[:1])
    assert np.abs(own).max() == 5


@pytest.mark.parametrize("largest", [9e5, 1.1e6, -1.1e6, np.inf])
def test_a_descriptor_that_is_too_large_is_missing(monkeypatch, largest):
    from rdkit.Chem import Descriptors

    names = descriptor_names()
    monkeypatch.setattr(
        Descriptors, "CalcMolDescriptors", lambda *_, **__: dict.fromkeys(names, 1.0) | {"TPSA": largest}
    )
    found = descriptors(["C"])[0, names.index("TPSA")]
    assert np.isnan(found) if abs(largest) > 1e6 else found == largest


@pytest.mark.parametrize("order", [[0.03, 30.0], [30.0, 0.03]], ids=str)
def test_options_that_fit_the_training_molecules_best_are_not_chosen_for_it(order):
    """A kernel as narrow as a molecule says the training labels by heart, and nothing of others."""
    errors = {}
    for gamma in order:
        model, features, labels = fitted("svr", gamma=gamma)
        squares = (model.predict(features) - labels) ** 2
        errors[gamma] = squares[:160].mean(), squares[160:200].mean()
    assert errors[30.0][0] < errors[0.03][0]
    assert errors[30.0][1] > errors[0.03][1]
    chosen, features, _ = fitted("svr", gamma=order)
    assert chosen.options["gamma"] == 0.03


@pytest.mark.parametrize("name", ["gradient_boosting", "random_forest"])
def test_the_seed_decides(name):
    features, labels = problem()
    module = registry.load("baselines", name)
    data = features[:160], labels[:160], features[160:200], labels[160:200]
    first, again, other = (module.fit(*data, seed, **QUICK[name]).predict(features[200:]) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def weighed(wide, narrow, blocks):
    """Predictions of a machine on a wide block beside a narrow one, and the training molecules as it sees them."""
    generator = np.random.default_rng(1)
    features = np.hstack([generator.normal(size=(60, wide)), generator.normal(size=(60, narrow))])
    labels = features[:, -1] + features[:, 0]
    model = registry.load("baselines", "svr").fit(
        features[:40], labels[:40], features[40:], labels[40:], 0, blocks, **QUICK["svr"]
    )
    return model.predict(features), model.pipeline[:-1].transform(features[:40])


def test_a_wide_block_weighs_as_much_as_256_columns():
    _, seen = weighed(1024, 12, [1024, 12])
    np.testing.assert_allclose([np.sum(seen[:, :1024].var(0)), np.sum(seen[:, 1024:].var(0))], [256, 12], rtol=1e-3)
    _, alone = weighed(1024, 12, ())
    np.testing.assert_allclose(np.sum(alone.var(0)), 256, rtol=1e-3)


@pytest.mark.parametrize("gamma", [0.002, "scale"])
def test_a_machine_on_many_columns_is_that_of_scikit_learn(gamma):
    """Its own sums of squares, and ours by a matrix product: both end within the solver's tolerance."""
    generator = np.random.default_rng(3)
    features = generator.normal(size=(120, 700))
    labels = np.sin(features[:, 0]) + features[:, 1]
    model = registry.load("baselines", "svr").fit(
        features[:90], labels[:90], features[90:], labels[90:], 0, [700], C=5, epsilon=0.1, gamma=gamma
    )
    seen = model.pipeline[:-1].transform(features)
    mean, scale = labels[:90].mean(), labels[:90].std()
    machine = SVR(C=5, epsilon=0.1, gamma=gamma).fit(seen[:90], (labels[:90] - mean) / scale)
    np.testing.assert_allclose(model.predict(features), machine.predict(seen) * scale + mean, atol=0.005 * scale)


def test_narrow_blocks_are_left_as_they_are():
    (one, seen), (other, as_one) = weighed(200, 12, [200, 12]), weighed(200, 12, ())
    assert (seen == as_one).all()
    assert (one == other).all()


def test_columns_that_do_not_vary_do_not_count():
    features = np.random.default_rng(2).normal(size=(30, 600))
    features[:, 300:] = 3.0
    labels = features[:, 0]
    fit = registry.load("baselines", "svr").fit
    model = fit(features, labels, features, labels, 0, [600], **QUICK["svr"])
    seen = model.pipeline[:-1].transform(features)
    assert seen.shape == (30, 300)
    np.testing.assert_allclose(np.sum(seen.var(0)), 256, rtol=1e-3)


def test_morgan_counts_of_known_molecules():
    """Ethane has the same carbon twice, and both with their neighbours are one substructure."""
    values = morgan(["CC", "CCO", "OCC", "C[C@H](O)F", "C[C@@H](O)F"])
    assert values.shape == (5, 2048)
    assert sorted(values[0][values[0] > 0].tolist()) == pytest.approx([np.log(2), np.log(3)])
    # Three atoms alone; each with its neighbours, of which the one in the middle sees the whole.
    assert np.expm1(values[1]).sum() == pytest.approx(6)
    assert (values[1] == values[2]).all()
    assert (values[3] == values[4]).all()
    with pytest.raises(ChemsieveError, match=r"'C\(' of molecule 1"):
        morgan(["C", "C("])


def test_lists_are_chosen_from_by_validation_error():
    errors = {}
    for C in (1e-4, 3.0):
        model, features, labels = fitted("svr", C=C)
        errors[C] = np.mean((model.predict(features[160:200]) - labels[160:200]) ** 2)
    chosen, _, _ = fitted("svr", C=[1e-4, 3.0], gamma=[0.03])
    assert errors[3.0] < errors[1e-4]
    assert chosen.options == {"C": 3.0, "epsilon": 0.1, "gamma": 0.03}
    assert (chosen.predict(features) == model.predict(features)).all()


@pytest.mark.parametrize("name", [n for n in QUICK if "max_features" in registry.load("baselines", n).OPTIONS])
def test_whole_numbers_serve_as_fractions(name):
    one, features, _ = fitted(name, max_features=1)
    assert (one.predict(features) == fitted(name, max_features=1.0)[0].predict(features)).all()


@MODELS
def test_defaults_satisfy_the_declared_schema(name):
    options = registry.load("baselines", name).OPTIONS
    schema = {"type": "object", "properties": options, "additionalProperties": False}
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({key: option["default"] for key, option in options.items()}, schema)
    jsonschema.validate(QUICK[name], schema)
    first = next(iter(options))
    for bad in (-1, "much", []):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({first: bad}, schema)


@pytest.mark.filterwarnings("error")
def test_bad_input_is_refused():
    with pytest.raises(ChemsieveError, match="unknown option 'depth'"):
        fitted("svr", depth=3)
    with pytest.raises(ChemsieveError, match="do not fit"):
        fitted("svr", n_train=0)
    labels = problem()[1]
    labels[4] = np.nan
    with pytest.raises(ChemsieveError, match="training molecule 4 "):
        fitted("svr", labels=labels)
    same = np.ones((5, 3))
    same[:, 2] = np.nan
    with pytest.raises(ChemsieveError, match="no feature varies"):
        registry.load("baselines", "svr").fit(same, np.arange(5.0), same, np.arange(5.0), 0)


def test_descriptors_of_known_molecules():
    values = descriptors(["CCO", "c1ccccc1", "OCC"])
    column = {name: values[:, i] for i, name in enumerate(descriptor_names())}
    assert values.shape == (3, len(column))
    assert values.dtype == np.float64
    assert column["MolWt"][:2] == pytest.approx([2 * 12.011 + 6 * 1.008 + 15.999, 6 * 12.011 + 6 * 1.008])
    assert column["NumHDonors"].tolist() == [1, 0, 1]
    assert column["RingCount"].tolist() == [0, 1, 0]
    assert column["NumValenceElectrons"].tolist() == [20, 30, 20]
    np.testing.assert_allclose(values[0], values[2], rtol=1e-9)  # one molecule, written in two ways


def test_descriptors_that_explode_or_fail():
    values = descriptors(["C" * 120, "C[Se]C", "C"])
    column = {name: values[:, i] for i, name in enumerate(descriptor_names())}
    assert 20 < column["Ipc"][0] < 1000  # a logarithm
    assert np.isnan(column["MaxPartialCharge"][1])  # Gasteiger has no parameters for selenium
    assert not np.isinf(values).any()
    assert np.nanmax(np.abs(values)) <= 1e6


def test_an_unreadable_smiles_is_named():
    with pytest.raises(ChemsieveError, match=r"'C\(' of molecule 1"):
        descriptors(["C", "C("])


# Fitted on a selection of the pool.

ROWS = {"train": range(30), "validation": range(30, 40), "test": range(40, 50), "pool": range(50, 70)}
CHOSEN = [61, 53, 66, 50]  # as a strategy ranks them; the pool's order is that of their numbers


@pytest.fixture
def run(tmp_path):
    """Runs a model of three features on a selection, or on none: its predictions of the test molecules, its facts."""
    generator = np.random.default_rng(5)
    features = generator.normal(size=(70, 3)) * [1, 10, 0.1]
    labels = 4 + features[:, 0] + features[:, 1] / 20 + generator.normal(size=70) / 10
    names = np.array([f"{'pool' if row in ROWS['pool'] else 'target'}-{row}" for row in range(70)])
    molecules = pd.DataFrame({"molecule_id": names, "encoder_smiles": "C", "label": labels})
    folds = [molecules.iloc[list(ROWS[fold])] for fold in ("train", "validation", "test")]
    write_table(molecules.iloc[list(ROWS["pool"])], tmp_path / "pool.parquet", "labelled")
    for name, rows in (("target", slice(0, 50)), ("pool_features", slice(50, 70))):
        table = pd.DataFrame({"molecule_id": names[rows], "values": list(features[rows])})
        write_table(table, tmp_path / f"{name}.parquet", "descriptors")

    def fit(chosen=None, **spec):
        more, output = None, SimpleNamespace(predictions=tmp_path / "predictions.parquet", run=tmp_path / "run.json")
        if chosen is not None:
            order = [*chosen, *(row for row in ROWS["pool"] if row not in chosen)]
            table = pd.DataFrame(
                {"strategy": "mine", "splitter": "random", "split_seed": 0, "seed": 0, "molecule_id": names[order]}
                | {
                    "score": None,
                    "rank": range(1, 21),
                    "selected": [row in chosen for row in order],
                    "set_aside": False,
                }
            )
            write_table(table, tmp_path / "selection.parquet", "selections")
            places = (str(tmp_path / f"{name}.parquet") for name in ("selection", "pool"))
            more = _run.added(*places, Features([str(tmp_path / "pool_features.parquet")]))
        identity = Identity("random", 0, 0, "descriptors", "svr", "none" if chosen is None else "mine")
        spec = {"model": "svr", "options": QUICK["svr"], "largest": 34} | spec
        known = Features([str(tmp_path / "target.parquet")])
        if "run" in spec:
            output = SimpleNamespace(
                use_choices=tmp_path / "choices.parquet", pool_use_curves=tmp_path / "curve.parquet"
            )
            output.predictions = [tmp_path / f"{use}.parquet" for use in spec["run"]]
            output.runs = [tmp_path / f"{use}.json" for use in spec["run"]]
            _run.fit_uses_and_write(identity, spec, known, folds, output, more)
            return output
        _run.fit_and_write(identity, spec, known, folds, output, more)
        found = pd.read_parquet(output.predictions)
        return found.loc[found["fold"] == "test", "prediction"].to_numpy(), read_facts(output.run)

    return SimpleNamespace(fit=fit, features=features, labels=labels)


def test_a_machine_on_a_selection_is_scikit_learns_on_the_rows_put_together(run):
    found, facts = run.fit(CHOSEN)
    rows = [*ROWS["train"], *sorted(CHOSEN)]
    mean, sd = run.features[rows].mean(axis=0), run.features[rows].std(axis=0)
    seen = np.clip((run.features - mean) / sd, -5, 5)
    middle, scale = run.labels[rows].mean(), run.labels[rows].std()
    machine = SVR(**QUICK["svr"]).fit(seen[rows], (run.labels[rows] - middle) / scale)
    np.testing.assert_allclose(found, machine.predict(seen[list(ROWS["test"])]) * scale + middle, rtol=1e-9)
    assert (facts["run_id"], facts["n_train"], facts["n_selected"]) == ("random/0/0/descriptors/svr/mine", 34, 4)
    assert np.abs(found - run.fit()[0]).max() > 0.01


def test_without_pool_molecules_a_run_is_the_model_itself(run):
    found, facts = run.fit()
    folds = [list(ROWS[fold]) for fold in ("train", "validation")]
    data = [part for rows in folds for part in (run.features[rows], run.labels[rows])]
    model = registry.load("baselines", "svr").fit(*data, 0, [3], **QUICK["svr"])
    assert (found == model.predict(run.features[list(ROWS["test"])])).all()
    assert (facts["run_id"], facts["n_train"], facts["n_selected"]) == ("random/0/0/descriptors/svr/none", 30, 0)
    nothing, facts = run.fit([])  # a threshold that no molecule reaches
    assert (nothing == found).all()
    assert (facts["n_train"], facts["n_selected"]) == (30, 0)


def test_options_are_chosen_on_validation_with_a_selection_too(run):
    options = {"C": 5, "epsilon": 0.1, "gamma": [30.0, 0.03]}
    found, _ = run.fit(CHOSEN, options=options)
    single = {gamma: run.fit(CHOSEN, options=options | {"gamma": gamma})[0] for gamma in options["gamma"]}
    assert (found == single[0.03]).all()
    assert (found != single[30.0]).any()


def test_more_molecules_than_are_allowed_are_one_sentence(run):
    said = (
        r"34 molecules with the selection mine, and baselines.largest allows 33; raise it, which costs time, or leave"
    )
    with pytest.raises(ChemsieveError, match=said):
        run.fit(CHOSEN, largest=33)
    run.fit(largest=3)  # the training molecules alone are no selection


USES = {
    "one": {"module": "weighted", "options": {"weight": 1}},
    "weighted": {"module": "weighted", "options": {}},
    "robust": {"module": "robust", "options": {}},
    "auto": {"module": "auto", "options": {}},
}


def test_a_run_in_each_use_and_what_chose_between_them(run):
    """Auto is the use with the lowest held-out error; a weight of 1 is mixed, which is the run on the selection."""
    mixed, _ = run.fit(CHOSEN)
    output = run.fit(CHOSEN, run=["one", "auto"], uses=USES)
    choices = read_table(output.use_choices).set_index("use")
    assert set(choices.index) == {"none", "mixed", "one", "weighted"}  # robust has no such form
    best = choices["loo_rmse"].idxmin()
    assert choices.index[choices["chosen"]].tolist() == [best]
    curve = read_table(output.pool_use_curves).query("use == 'weighted'")
    assert curve["loo_rmse"].min() == choices.loc["weighted", "loo_rmse"]
    names = [read_facts(path)["run_id"] for path in output.runs]
    assert names == [f"random/0/0/descriptors/svr/mine/{use}" for use in ("one", "auto")]
    one, auto = (read_table(path).query("fold == 'test'")["prediction"].to_numpy() for path in output.predictions)
    np.testing.assert_array_equal(one, mixed)
    same, _ = run.fit(CHOSEN, use="auto", uses=USES)  # as it is fitted again for a model folder
    np.testing.assert_array_equal(auto, same)


@pytest.mark.slow
def test_a_study_fits_a_descriptor_model_on_a_selection(fresh):
    change = {"baselines": {"run": ["svr"], "selections": ["random"]}}
    folder = "results/small/runs/scaffold/0/0/descriptors/svr"
    done = snakemake(fresh, f"{folder}/run.json", f"{folder}/random/run.json", *overlay(fresh, change))
    assert done.returncode == 0, done.stdout
    alone, more = (read_facts(fresh / folder / name) for name in ("run.json", "random/run.json"))
    assert more["n_train"] - alone["n_train"] == more["n_selected"] == 10
    assert (fresh / "results/small/data/pool_descriptors.parquet").exists()
