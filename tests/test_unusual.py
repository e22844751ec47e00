"""What is hardly a molecule of the kind, and labels that stand for none: found, listed, refused where that is asked."""

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from chemsieve.data import quality, unusual
from chemsieve.data.measured import Repeats
from chemsieve.data.molecules import Rules
from helpers.inputs import ALKANES, TABLE, nothing, partition

IBUPROFEN, CAFFEINE = "CC(C)Cc1ccc(cc1)C(C)C(=O)O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C"


@pytest.mark.parametrize(
    ("smiles", "kind"),
    [
        ("O", "no_carbon"),
        ("[Na+].[Cl-]", "no_carbon"),
        ("[Fe]", "no_carbon"),
        ("Cl", "no_carbon"),
        ("CC[Hg]CC", "metal"),
        ("[Pt+2].[NH2-].[NH2-].CC", "metal"),
        ("C[Si](C)(C)C", ""),
        ("[Na+].CC(=O)[O-]", ""),
        ("NCCc1ccccc1.Cl", ""),
        ("CCN.OC(=O)CC(O)(CC(O)=O)C(O)=O", ""),  # a citrate
        (f"{IBUPROFEN}.O", ""),
        (f"{IBUPROFEN}.{IBUPROFEN}", ""),  # twice the same
        (f"{IBUPROFEN}.{CAFFEINE}", "mixture"),
        ("CCO", ""),
    ],
)
def test_what_is_hardly_a_molecule_of_the_kind(smiles, kind):
    assert unusual.kind_of(smiles) == kind
    assert unusual.kind(Chem.MolFromSmiles(smiles)) == kind, "its text tells no other"


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([0.5, 1, 2, 9999], {9999.0}),
        ([0.5, 1, 2, -999, -999], {-999.0}),
        ([0.5, 1, 2, 9.99], set()),  # nines that lie near the others
        ([500, 800, 999, 1200], set()),
        ([0.5, 1, 2, 1234], set()),  # far, and no nines
        ([9999, 9999], set()),
    ],
)
def test_labels_of_nines_far_from_all_others_stand_for_none(labels, found):
    assert unusual.sentinels(labels) == found


@pytest.mark.parametrize("policy", ["flag", "refuse"])
def test_they_are_listed_or_refused(policy):
    smiles = [*ALKANES, "O", "CC[Hg]CC", f"{IBUPROFEN}.{CAFFEINE}", "CCO"]
    labels = [*np.linspace(0, 1, 13).round(2).astype(str), "-9999"]
    frame = pd.DataFrame({"row": range(len(smiles)), "smiles": smiles, "label_text": labels})
    molecules, rejected = partition(frame, nothing(), rules={"target": Rules.of(TABLE | {"unusual": policy})})
    told = [words for _, (_, words, *_) in quality.sentences(molecules, rejected, {"target": Repeats()})]
    if policy == "refuse":
        assert list(rejected["reason"]) == ["no_carbon", "metal", "mixture", "sentinel"]
        assert sum("1 row was left out: molecules that" in words for words in told) == 4
    else:
        assert rejected.empty
        for name, words in zip(
            ("target-10", "target-11", "target-12", "target-13"), unusual.WORDS.values(), strict=True
        ):
            assert any(words in sentence and name in sentence for sentence in told)
