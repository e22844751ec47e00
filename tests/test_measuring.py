"""What to measure next: posterior variances against explicit inverses, choices against trying every candidate."""

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from chemsieve import registry
from chemsieve.deployment import measuring
from chemsieve.errors import ChemsieveError, InfluenceDivergence
from chemsieve.influence import posterior as posteriors
from chemsieve.influence.kernel import Kernel, per_query_table
from chemsieve.selection import Context, select
from helpers.tiny import SMILES

TRAIN, QUERY, POOL = 7, 4, 12
DAMPING = 0.3
CONSTANT = TRAIN * DAMPING / 2


def features(seed, width=9):
    return np.random.default_rng(seed).normal(size=(TRAIN + QUERY + POOL, width))


def kernel_of(rows, seed=0):
    """A kernel whose pool has no labels."""
    residuals = np.random.default_rng(seed).normal(size=len(rows))
    residuals[TRAIN + QUERY :] = np.nan
    return Kernel(rows @ rows.T, residuals, TRAIN, QUERY)


def covariance(matrix, measured):
    """Of all molecules, given those at ``measured``: prior minus what a Gaussian process learns, by an inverse."""
    known = list(measured)
    inverse = np.linalg.inv(matrix[np.ix_(known, known)] + CONSTANT * np.eye(len(known)))
    return matrix - matrix[:, known] @ inverse @ matrix[known]


def targets_sum(matrix, measured):
    return np.trace(covariance(matrix, measured)[: TRAIN + QUERY, : TRAIN + QUERY])


def brute(matrix, count, criterion):
    """Places in the pool, chosen by trying each of them at each step, and the criterion's value of each choice."""
    measured, order, values = list(range(TRAIN)), [], []
    for _ in range(count):
        tried = [
            -np.inf if z in order else criterion(matrix, measured, TRAIN + QUERY + z)
            for z in range(len(matrix) - TRAIN - QUERY)
        ]
        order.append(int(np.argmax(tried)))
        values.append(max(tried))
        measured.append(TRAIN + QUERY + order[-1])
    return order, values


def v_criterion(matrix, measured, z):
    return targets_sum(matrix, measured) - targets_sum(matrix, [*measured, z])


def d_criterion(matrix, measured, z):
    """Growth of the log-determinant of the measured molecules' covariance, noise included, in units of the noise's."""

    def half(known):
        return np.linalg.slogdet(matrix[np.ix_(known, known)] / CONSTANT + np.eye(len(known)))[1] / 2

    return half([*measured, z]) - half(list(measured))


def starts(rows, damping=DAMPING):
    """The same posterior twice: from the matrix, and from the features."""
    train, query, pool = rows[:TRAIN], rows[TRAIN : TRAIN + QUERY], rows[TRAIN + QUERY :]
    return posteriors.of_kernel(kernel_of(rows), damping), posteriors.of_features(train, query, pool, damping)


@pytest.mark.parametrize("width", [3, 9, 30])
def test_a_posterior_is_that_of_the_explicit_inverse(width):
    rows = features(1, width)
    expected = covariance(rows @ rows.T, range(TRAIN))
    known, pool = slice(0, TRAIN + QUERY), slice(TRAIN + QUERY, None)
    for start in starts(rows):
        np.testing.assert_allclose(start.own, np.diag(expected)[pool], atol=1e-10)
        np.testing.assert_allclose(start.query, np.diag(expected)[TRAIN : TRAIN + QUERY], atol=1e-10)
        assert start.total == pytest.approx(np.trace(expected[known, known]))
        assert (start.targets, start.constant) == (TRAIN + QUERY, CONSTANT)
        for place in range(POOL):
            np.testing.assert_allclose(start.row(place), expected[pool, pool][place], atol=1e-10)
        cross = expected[known, pool]
        np.testing.assert_allclose(start.cross.T @ start.cross, cross.T @ cross, atol=1e-9)


@pytest.mark.parametrize("width", [3, 9, 30])
def test_every_candidates_variance_and_fall_are_right_at_every_step(width):
    rows = features(2, width)
    matrix = rows @ rows.T
    for start in starts(rows):
        walk, measured = posteriors.Walk(start, POOL), list(range(TRAIN))
        for place in np.random.default_rng(width).permutation(POOL):
            own = np.diag(covariance(matrix, measured))[TRAIN + QUERY :]
            np.testing.assert_allclose(walk.own, own, atol=1e-9)
            fall = [v_criterion(matrix, measured, TRAIN + QUERY + z) for z in range(POOL)]
            np.testing.assert_allclose(walk.falls, fall, atol=1e-9)
            assert walk.take(place) == pytest.approx(fall[place], abs=1e-9)
            measured.append(TRAIN + QUERY + place)
            assert walk.total == pytest.approx(targets_sum(matrix, measured), abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("strategy", "criterion"), [("v_optimal", v_criterion), ("d_optimal", d_criterion)])
def test_a_batch_is_the_one_of_trying_every_candidate_at_every_step(seed, strategy, criterion):
    rows = features(seed)
    order, values = brute(rows @ rows.T, 6, criterion)
    table = chosen_by(strategy, rows, {"count": 6})
    assert list(table["molecule_id"][:6]) == [f"pool-{z}" for z in order]
    np.testing.assert_allclose(table["score"][:6], np.minimum.accumulate(values), rtol=1e-8)
    assert (table["score"] > 0).all(), "positive helps"
    assert list(table["selected"]) == [True] * 6 + [False] * (POOL - 6)
    # What is left follows by what it would do after the batch.
    measured = [*range(TRAIN), *(TRAIN + QUERY + z for z in order)]
    left = [int(name.removeprefix("pool-")) for name in table["molecule_id"][6:]]
    after = [min(criterion(rows @ rows.T, measured, TRAIN + QUERY + z), values[-1]) for z in left]
    np.testing.assert_allclose(after, sorted(after, reverse=True), rtol=1e-8)


def pool_table(count=POOL):
    return pd.DataFrame({"molecule_id": [f"pool-{i}" for i in range(count)], "encoder_smiles": SMILES[:count]})


def context_of(rows, kernel=None):
    known = TRAIN + QUERY
    labels = np.random.default_rng(9).normal(size=TRAIN) * 3 + 1
    training = pd.DataFrame({"molecule_id": [f"target-{i}" for i in range(TRAIN)], "label": labels})
    validation = pd.DataFrame({"molecule_id": [f"target-{i}" for i in range(TRAIN, known)], "label": 0.0})
    return Context(
        training=training,
        validation=validation,
        kernels=lambda: [kernel or kernel_of(rows)],
        gram_labels=lambda: (labels - labels.mean()) / labels.std(),
        embeddings=lambda: (rows[:TRAIN].astype(np.float32), rows[known:].astype(np.float32)),
        validation_embeddings=lambda: rows[TRAIN:known].astype(np.float32),
    )


def chosen_by(strategy, rows, budget, damping=DAMPING, kernel=None):
    context = context_of(rows, kernel)
    return select(pool_table(len(rows) - TRAIN - QUERY), context, "mine", strategy, budget, 0, {"damping": damping})


@pytest.mark.parametrize("strategy", ["v_optimal", "d_optimal"])
@pytest.mark.parametrize("seed", range(5))
def test_of_equal_candidates_the_first_of_the_file_is_chosen(strategy, seed):
    """Each twice, in an order of its own: of every pair the earlier one, and as if there were no copies first."""
    rows = features(seed)
    order = np.random.default_rng(seed).permutation(np.repeat(np.arange(POOL), 2))
    doubled = np.concatenate([rows[: TRAIN + QUERY], rows[TRAIN + QUERY :][order]])
    pool = pd.DataFrame({"molecule_id": [str(i) for i in range(2 * POOL)]})
    table = select(pool, context_of(doubled), "mine", strategy, {"count": 2 * POOL}, 0, {"damping": DAMPING})
    places = [int(name) for name in table["molecule_id"]]
    for copy in range(POOL):
        first, second = np.flatnonzero(order == copy)
        assert places.index(first) < places.index(second)
    assert sorted(places) == list(range(2 * POOL))
    assert (np.diff(table["score"]) < 0).all()


@pytest.mark.parametrize("strategy", ["v_optimal", "d_optimal"])
def test_no_label_of_the_pool_is_read(strategy):
    rows = features(3)
    labelled = Kernel(rows @ rows.T, np.random.default_rng(0).normal(size=len(rows)), TRAIN, QUERY)
    with_labels = chosen_by(strategy, rows, {"count": 4}, kernel=labelled)
    pd.testing.assert_frame_equal(with_labels, chosen_by(strategy, rows, {"count": 4}))


def test_a_threshold_takes_what_still_lowers_the_variance_by_so_much():
    rows = features(4)
    _, values = brute(rows @ rows.T, POOL, v_criterion)
    smallest = np.minimum.accumulate(values)
    table = chosen_by("v_optimal", rows, {"threshold": float(smallest[3] + smallest[4]) / 2})
    assert table["selected"].sum() == 4
    np.testing.assert_allclose(table["score"][:4], smallest[:4])


def test_the_damping_is_chosen_by_the_training_labels_where_none_is_given():
    from chemsieve.influence.kernel import choose_damping

    rows = features(5)
    context = context_of(rows)
    chosen, _ = choose_damping(kernel_of(rows), context.gram_labels(), seed=0)
    expected = chosen_by("v_optimal", rows, {"count": 3}, chosen)
    pd.testing.assert_frame_equal(chosen_by("v_optimal", rows, {"count": 3}, None), expected)


@pytest.mark.parametrize("damping", [DAMPING, None])
@pytest.mark.parametrize("strategy", ["v_optimal", "d_optimal"])
def test_a_pool_that_no_matrix_holds_is_described_by_embeddings_and_the_log_says_so(strategy, damping, caplog):
    """The same as with the matrix of embeddings and a constant."""
    rows = features(6)
    without = Kernel((rows @ rows.T)[: TRAIN + QUERY, : TRAIN + QUERY], np.zeros(TRAIN + QUERY), TRAIN, QUERY)
    with caplog.at_level("INFO"):
        found = chosen_by(strategy, rows, {"count": 5}, damping, without)
    assert "too large for the Gram matrix" in caplog.text
    wide = np.column_stack([rows, np.ones(len(rows))])
    expected = chosen_by(strategy, wide, {"count": 5}, damping)
    assert list(found["molecule_id"]) == list(expected["molecule_id"])
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-4)


def test_more_choices_than_memory_was_taken_for_change_nothing():
    generator = np.random.default_rng(7)
    rows = generator.normal(size=(TRAIN + QUERY + 150, 40))
    start = starts(rows)[0]
    order = np.argsort(-posteriors.greedy(start, posteriors.falls, 150), kind="stable")
    totals, own = posteriors.along(start, order)
    assert totals[-1] == pytest.approx(targets_sum(rows @ rows.T, [*range(TRAIN), *range(TRAIN + QUERY, len(rows))]))
    assert (np.diff(totals) <= 1e-12).all()
    assert len(own) == 150


def test_a_prior_variance_makes_errors_as_large_as_they_are_expected_to_be():
    start = starts(features(8))[0]
    errors = np.array([1.0, -2.0, 0.5, 3.0])
    scale = posteriors.prior_variance(start, errors)
    assert np.mean(errors**2 / (scale * (start.query + start.constant))) == pytest.approx(1)


def test_only_residuals_of_the_pool_may_be_unknown():
    rows = features(0)
    residuals = np.zeros(len(rows))
    for place, value in ((0, np.nan), (TRAIN, np.nan), (TRAIN + QUERY, np.inf)):
        bad = residuals.copy()
        bad[place] = value
        with pytest.raises(InfluenceDivergence, match="not finite"):
            Kernel(rows @ rows.T, bad, TRAIN, QUERY)


def test_a_pool_without_labels_has_no_influence():
    pool, query = (["x"] * count for count in (POOL, QUERY))
    with pytest.raises(ChemsieveError, match=r"pool\.labels is unlabelled"):
        per_query_table(kernel_of(features(0)), np.zeros(TRAIN), pool, query, DAMPING, 0)


# -- the list ----------------------------------------------------------------------------------------------------------


def test_the_list_says_what_each_molecule_is_expected_to_do(tmp_path):
    rows = features(10)
    context, pool = context_of(rows), pool_table()
    kernel = context.kernels()[0]
    selection = chosen_by("v_optimal", rows, {"count": 4}).sample(frac=1, random_state=0)
    known = [f"target-{i}" for i in range(TRAIN + QUERY)]
    names = [*known, *pool["molecule_id"], "target-99"]
    # The test molecule is the first of the pool: it must be no one's nearest.
    smiles = [*SMILES[POOL : POOL + len(known)], *SMILES[:POOL], SMILES[0]]
    molecules = pd.DataFrame({"molecule_id": names, "smiles": smiles, "vendor": [f"V{i}" for i in range(len(names))]})
    listed = measuring.described(pool, molecules, selection, context, DAMPING, 0)

    order = [int(name.removeprefix("pool-")) for name in listed["id"]]
    assert order == brute(rows @ rows.T, 4, v_criterion)[0]
    assert list(listed["rank"]) == [1, 2, 3, 4]
    table = molecules.set_index("molecule_id")
    assert list(listed["smiles"]) == list(table.loc[listed["id"], "smiles"])
    assert list(listed["vendor"]) == list(table.loc[listed["id"], "vendor"])
    assert listed["identifier"].isna().all()  # nobody gave any
    own = molecules.assign(identifier=[f"CMP-{i}" if i % 2 else None for i in range(len(names))])
    named = measuring.described(pool, own, selection, context, DAMPING, 0)
    theirs = own.set_index("molecule_id")["identifier"]
    assert named["identifier"].fillna("").tolist() == theirs[listed["id"]].fillna("").tolist()
    nearest = [theirs[one] if theirs.notna()[one] else one for one in listed["nearest_known"]]
    assert named["nearest_known"].tolist() == nearest

    matrix, measured = rows @ rows.T, list(range(TRAIN))
    variances = np.diag(covariance(matrix, measured))[TRAIN : TRAIN + QUERY] + CONSTANT
    unit = np.std(context.training["label"]) * np.sqrt(
        np.mean(kernel.residuals[TRAIN : TRAIN + QUERY] ** 2 / variances)
    )
    for row in listed.itertuples():
        place = TRAIN + QUERY + order[row.rank - 1]
        assert row.own_sd == pytest.approx(unit * np.sqrt(covariance(matrix, measured)[place, place]))
        before = np.sqrt(targets_sum(matrix, measured) / (TRAIN + QUERY))
        measured.append(place)
        after = np.sqrt(targets_sum(matrix, measured) / (TRAIN + QUERY))
        assert (row.target_sd_before, row.target_sd_after) == pytest.approx((unit * before, unit * after))
        assert row.sd_fall == pytest.approx(unit * (before - after))

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    prints = {name: generator.GetFingerprint(Chem.MolFromSmiles(table.loc[name, "smiles"])) for name in names}
    for row in listed.itertuples():
        near = [DataStructs.TanimotoSimilarity(prints[row.id], prints[name]) for name in known]
        assert row.tanimoto == pytest.approx(max(near))
        assert row.nearest_known == known[int(np.argmax(near))]
        assert row.nearest_smiles == table.loc[row.nearest_known, "smiles"]

    measuring.write(named.assign(identifier="=1+2"), tmp_path / "formula.csv")
    assert set(pd.read_csv(tmp_path / "formula.csv")["identifier"]) == {"'=1+2"}  # no spreadsheet calculates it
    measuring.write(listed, tmp_path / "next.csv")
    again = pd.read_csv(tmp_path / "next.csv")
    assert list(again.columns) == list(listed.columns)
    np.testing.assert_allclose(again["own_sd"], listed["own_sd"], rtol=1e-3)
    assert b"\r" not in (tmp_path / "next.csv").read_bytes()


@pytest.mark.parametrize("strategy", ["v_optimal", "d_optimal"])
def test_the_strategies_ask_for_no_labels(strategy):
    assert not {"labels", "influence"} & set(registry.load("selection", strategy).NEEDS)
