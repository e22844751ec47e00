"""The embedded data set: made from hand-written building blocks, so that the workflow runs without any download.

Building blocks are joined by common reactions. The label is Crippen's logP plus Gaussian measurement noise, a property
that a model can learn from structure and whose true value is known. The pool is a positive control in three thirds, of
which a good selection prefers the first and avoids the last:

* ``like_target``: further products of the same reactions and blocks, with the same noise;
* ``other_chemistry``: peptides, glycosides, lipids, steroid esters, nucleosides, silyl ethers and phosphates, labelled
  as correctly as the target;
* ``corrupted_label``: like the target, but the label is the true one shifted by 2 to 4 log units (uniform): down where
  the truth is above the mean of the target set, up elsewhere.

Sources: logP contributions of Wildman and Crippen, J. Chem. Inf. Comput. Sci. 39 (1999) 868, as RDKit implements them.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from rdkit import Chem, rdBase
from rdkit.Chem import AllChem, Crippen, Descriptors

from chemsieve.data import chemistry
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import write_text
from chemsieve.tables import write_table

SMILES, LABEL = "smiles", "crippen_logp_with_noise"
GROUPS = ("like_target", "other_chemistry", "corrupted_label")

HEAVY_ATOMS = (16, 28)
WEIGHT = (220.0, 400.0)  # g/mol
CORRUPTION = (2.0, 4.0)  # least and most distance of a corrupted label from the truth, in log units

# One reactive site each, as far as possible, so that a reaction has one product.
BLOCKS: dict[str, tuple[str, ...]] = {
    "amine": (
        "NCc1ccccc1",
        "NCc1ccc(F)cc1",
        "NCCc1ccc(OC)cc1",
        "NCc1cccnc1",
        "NCc1ccco1",
        "NCC1CCCO1",
        "NCCOC",
        "NCCS(C)(=O)=O",
        "NC1CCCCC1",
        "NC1CCOCC1",
        "NC12CC3CC(CC(C3)C1)C2",
        "NC(C)c1ccccc1Cl",
        "NCC(F)(F)F",
        "CNCc1cccs1",
        "CNCCC#N",
        "C1CCNCC1",
        "C1COCCN1",
        "CN1CCNCC1",
        "CC(=O)N1CCNCC1",
        "NC(=O)C1CCNCC1",
        "CS(=O)(=O)N1CCNCC1",
        "FC1(F)CCNCC1",
        "C1CCC2(CC1)CCNC2",
        "C1Cc2ccccc2CN1",
        "C1CC(c2ccccc2)CN1",
        "c1ccc(OC2CNC2)cc1",
        "CC(C)OC1CNC1",
        "NCc1nc(C)no1",
        "NCc1cn(C)nc1C",
        "C1CNCc2nccn21",
        "CCCCNCC",
        "NCC(=O)N(C)C",
    ),
    "aniline": (
        "Nc1ccccc1",
        "Nc1ccc(Cl)c(Cl)c1",
        "Nc1ccc(OC)cc1",
        "Nc1cccc(C(F)(F)F)c1",
        "Nc1ccc(C#N)cc1",
        "Nc1ccc(C(N)=O)cc1",
        "Nc1ccc2c(c1)OCO2",
        "Nc1cccc2ccccc12",
        "Nc1ccc2[nH]ncc2c1",
        "Nc1ccc(N2CCOCC2)cc1",
        "Nc1ccc(C(C)(C)C)cc1",
        "Nc1cccc(S(C)(=O)=O)c1",
    ),
    "acid": (
        "OC(=O)c1ccccc1",
        "OC(=O)c1ccc(Cl)cc1",
        "OC(=O)c1ccc(C(C)(C)C)cc1",
        "OC(=O)c1cc(OC)cc(OC)c1",
        "OC(=O)c1cccc(S(C)(=O)=O)c1",
        "OC(=O)c1ccncc1",
        "OC(=O)c1cnc(C)cn1",
        "OC(=O)c1ccc[nH]1",
        "OC(=O)c1cc2ccccc2[nH]1",
        "OC(=O)c1csc(C)n1",
        "OC(=O)c1ccn(C)n1",
        "OC(=O)c1cc(C)on1",
        "OC(=O)Cc1ccc(F)cc1",
        "OC(=O)CCc1ccccc1",
        "OC(=O)COc1ccc(Cl)cc1",
        "OC(=O)C1CCCCC1",
        "OC(=O)C1CCOCC1",
        "OC(=O)C1CC1c1ccccc1",
        "OC(=O)CN1CCCC1=O",
        "OC(=O)c1ccc2ccccc2n1",
        "OC(=O)c1cc(C(F)(F)F)cc(C(F)(F)F)c1",
        "OC(=O)CC1CCCC1",
        "OC(=O)c1cc2c(s1)CCC2",
        "OC(=O)c1ccc2c(c1)OCCO2",
    ),
    "boronic_acid": (
        "OB(O)c1ccccc1",
        "OB(O)c1ccc(Cl)cc1",
        "OB(O)c1ccc(F)c(F)c1",
        "OB(O)c1ccc(OC)cc1",
        "OB(O)c1ccccc1C",
        "OB(O)c1ccc(C(F)(F)F)cc1",
        "OB(O)c1ccc(S(C)(=O)=O)cc1",
        "OB(O)c1ccc(C(N)=O)cc1",
        "OB(O)c1cccc(CO)c1",
        "OB(O)c1cccnc1",
        "OB(O)c1cnn(C)c1",
        "OB(O)c1ccsc1",
        "OB(O)c1ccc2occc2c1",
        "OB(O)c1cccc2ccccc12",
        "OB(O)c1ccc(C(=O)NC)cc1",
        "OB(O)c1ccc(C(C)C)cc1",
    ),
    "aryl_bromide": (
        "Brc1ccc(C(=O)N2CCCC2)cc1",
        "Brc1cccc(C(=O)OCC)c1",
        "Brc1ccc(CN2CCOCC2)cc1",
        "Brc1cnc(N2CCCCC2)nc1",
        "Brc1ccc2c(c1)CCC(=O)N2",
        "Brc1ccc2ncccc2c1",
        "Brc1cccc(NC(C)=O)c1",
        "Brc1csc(NC(=O)C2CC2)n1",
        "Brc1ccc(OCC(=O)N(C)C)cc1",
        "Brc1cc(C(F)(F)F)ccc1OC",
        "Brc1ccc(S(=O)(=O)NC2CC2)cc1",
        "Brc1cn2ccccc2n1",
        "Brc1ccc2c(c1)n(C)c(C)n2",
        "Brc1ccc(C2(C#N)CCCC2)cc1",
    ),
    "carbonyl": (
        "O=Cc1ccccc1",
        "O=Cc1ccc(Cl)c(F)c1",
        "O=Cc1ccc2c(c1)OCO2",
        "O=Cc1ccc(OC(F)F)cc1",
        "O=Cc1ccncc1",
        "O=Cc1cnc(C)s1",
        "O=Cc1ccc(-n2cccn2)cc1",
        "O=Cc1c[nH]c2ccccc12",
        "O=Cc1cc(C)n(C)c1C",
        "O=Cc1ccc(N(C)C)cc1",
        "O=C1CCCCC1",
        "O=C1CCOCC1",
        "O=C1CCc2ccccc21",
        "O=C1CCN(c2ccccn2)CC1",
        "O=CCCc1ccccc1",
        "O=Cc1ccc(CC(C)C)cc1",
    ),
    "snar_halide": (
        "Clc1ncnc2ccccc12",
        "Clc1ncnc2sccc12",
        "Clc1ncnc2[nH]ccc12",
        "Clc1ccnc(C)n1",
        "Clc1nccc(-c2ccccc2)n1",
        "Clc1ncc(C(F)(F)F)cn1",
        "Clc1ccc(C(N)=O)cn1",
        "Clc1ccc(-c2ccccc2)nn1",
        "Fc1ccc(C#N)cc1C(F)(F)F",
        "Fc1ccc([N+](=O)[O-])cc1",
        "Fc1ccc(C(=O)OC)nc1",
        "Clc1nc2ccccc2s1",
        "Clc1cc(C(F)(F)F)c(C#N)cn1",
        "Clc1nc(C)nc2c1CCC2",
    ),
    "sulfonyl_chloride": (
        "ClS(=O)(=O)c1ccccc1",
        "ClS(=O)(=O)c1ccc(C)cc1",
        "ClS(=O)(=O)c1ccc(OC)cc1",
        "ClS(=O)(=O)c1ccc(F)c(Cl)c1",
        "ClS(=O)(=O)c1cccs1",
        "ClS(=O)(=O)c1c(C)noc1C",
        "ClS(=O)(=O)c1cccnc1",
        "ClS(=O)(=O)Cc1ccccc1",
        "ClS(=O)(=O)C1CC1",
        "ClS(=O)(=O)c1ccc2c(c1)CCO2",
        "ClS(=O)(=O)c1cn(C)cn1",
        "ClS(=O)(=O)c1cccc2ccccc12",
    ),
    "isocyanate": (
        "O=C=Nc1ccccc1",
        "O=C=Nc1ccc(F)cc1",
        "O=C=Nc1cccc(Cl)c1",
        "O=C=Nc1ccc(OC)cc1",
        "O=C=Nc1ccc(C(F)(F)F)cc1",
        "O=C=NC1CCCCC1",
        "O=C=NCc1ccccc1",
        "O=C=Nc1cccc(C#N)c1",
        "O=C=NC(C)(C)C",
        "O=C=Nc1cccnc1",
        "O=C=NCc1ccco1",
    ),
    "phenol": (
        "Oc1ccccc1",
        "Oc1ccc(Cl)cc1",
        "Oc1ccc(C(C)=O)cc1",
        "Oc1ccc2ccccc2c1",
        "Oc1cccc(N2CCOCC2)c1",
        "Oc1ccc(C#N)cc1",
        "Oc1ccc2ccc(=O)oc2c1",
        "Oc1ccc(CCC(=O)OC)cc1",
        "Oc1cccc2ncccc12",
        "Oc1ccc(C(C)(C)C)cc1",
        "Oc1ccc(-n2cncn2)cc1",
        "Oc1cc(C)c(Cl)c(C)c1",
        "Oc1ccc(CC(N)=O)cc1",
    ),
    "alkyl_halide": (
        "BrCc1ccccc1",
        "BrCc1ccc(F)cc1",
        "BrCc1ccc(C(C)(C)C)cc1",
        "BrCc1cccc(C#N)c1",
        "BrCC(=O)N1CCOCC1",
        "BrCC(=O)Nc1ccccc1",
        "BrCC(=O)NC1CC1",
        "BrCCN1CCCCC1",
        "BrCCCN1C(=O)CCC1=O",
        "BrCC1CCCCC1",
        "BrCc1cc(C)on1",
        "BrCc1nc2ccccc2n1C",
        "BrCc1csc(C)n1",
        "BrCCCCC",
    ),
    "alkyne": (
        "C#Cc1ccccc1",
        "C#Cc1ccc(OC)cc1",
        "C#Cc1cccc(F)c1",
        "C#Cc1cccnc1",
        "C#CC1CCCCC1",
        "C#CCN1CCOCC1",
        "C#CC1(O)CCCC1",
        "C#CCOC",
        "C#CCCCC",
        "C#CCNC(C)=O",
        "C#CC(C)(C)O",
    ),
    "azide": (
        "[N-]=[N+]=NCc1ccccc1",
        "[N-]=[N+]=NCc1ccc(Cl)cc1",
        "[N-]=[N+]=Nc1ccc(F)cc1",
        "[N-]=[N+]=NCC(=O)N1CCCC1",
        "[N-]=[N+]=NCc1ccc(S(C)(=O)=O)cc1",
        "[N-]=[N+]=NC1CCCCC1",
        "[N-]=[N+]=NCCOc1ccccc1",
        "[N-]=[N+]=Nc1ccc2c(c1)OCO2",
        "[N-]=[N+]=NCCC(=O)NC1CC1",
        "[N-]=[N+]=NCc1cc(C)cc(C)c1",
    ),
    "phenylenediamine": (
        "Nc1ccccc1N",
        "Nc1ccc(Cl)cc1N",
        "Nc1cc(F)c(F)cc1N",
        "Nc1ccc(C(=O)OC)cc1N",
        "Nc1ccc(C(F)(F)F)cc1N",
        "Nc1cc(C)c(C)cc1N",
        "Nc1ccc(C(N)=O)cc1N",
        "Nc1cccnc1N",
    ),
    "thioamide": (
        "NC(=S)c1ccccc1",
        "NC(=S)c1ccc(Cl)cc1",
        "NC(=S)c1ccncc1",
        "NC(=S)N1CCOCC1",
        "NC(=S)Nc1ccc(C)cc1",
        "NC(=S)C1CCCCC1",
        "NC(=S)NC(C)=O",
        "NC(=S)CC(=O)OCC",
        "NC(=S)Nc1ccccn1",
    ),
    "bromoketone": (
        "O=C(CBr)c1ccccc1",
        "O=C(CBr)c1ccc(OC)cc1",
        "O=C(CBr)c1ccc(C#N)cc1",
        "O=C(CBr)c1cccs1",
        "O=C(CBr)c1ccc2c(c1)NC(=O)CO2",
        "O=C(CBr)C12CC3CC(CC(C3)C1)C2",
        "O=C(CBr)c1ccc(S(C)(=O)=O)cc1",
        "O=C(CBr)c1ccc(N2CCOCC2)cc1",
        "O=C(CBr)c1cccc([N+](=O)[O-])c1",
    ),
}

_AMINE = "[NX3;H1,H2;$(N[CX4]);!$(N[C,S]=[O,N,S]):3]"
_ANILINE = "[NX3;H2;$(Nc);!$(NC=O):3]"

# Name: classes of the two reactants, reaction SMARTS.
REACTIONS: dict[str, tuple[str, str, str]] = {
    "amide": ("acid", "amine", f"[CX3:1](=[O:2])[OX2H1].{_AMINE}>>[C:1](=[O:2])[N:3]"),
    "anilide": ("acid", "aniline", f"[CX3:1](=[O:2])[OX2H1].{_ANILINE}>>[C:1](=[O:2])[N:3]"),
    "suzuki": ("boronic_acid", "aryl_bromide", "[c:1]B(O)O.[c:2]Br>>[c:1]-[c:2]"),
    "reductive_amination": ("carbonyl", "amine", f"[CX3;!$(C[N,O]):1]=[OX1].{_AMINE}>>[C:1][N:3]"),
    "snar": ("snar_halide", "amine", f"[c:1][F,Cl].{_AMINE}>>[c:1][N:3]"),
    "snar_aniline": ("snar_halide", "aniline", f"[c:1][F,Cl].{_ANILINE}>>[c:1][N:3]"),
    "sulfonamide": ("sulfonyl_chloride", "amine", f"[S:1](=O)(=O)Cl.{_AMINE}>>[S:1](=O)(=O)[N:3]"),
    "urea": ("isocyanate", "amine", f"[N:1]=[C:2]=[O:4].{_AMINE}>>[N:1][C:2](=[O:4])[N:3]"),
    "williamson": ("phenol", "alkyl_halide", "[c:1][OX2H1:2].[CX4:3]Br>>[c:1][O:2][C:3]"),
    "sonogashira": ("alkyne", "aryl_bromide", "[CX2H1:1]#[C:2].[c:3]Br>>[c:3][C:1]#[C:2]"),
    "azide_alkyne": (
        "azide",
        "alkyne",
        "[#6:6][N:1]=[N+:2]=[N-:3].[CX2H1:4]#[C:5]>>[#6:6][n:1]1[cH:4][c:5][n+0:3][n+0:2]1",
    ),
    "benzimidazole": (
        "phenylenediamine",
        "acid",
        "[c:1]([NH2:2]):[c:3][NH2:4].[CX3:5](=O)[OX2H1]>>[c:1]1:[c:3][nH:4][c:5][n:2]1",
    ),
    "thiazole": (
        "thioamide",
        "bromoketone",
        "[NH2:1][C:2]=[S:3].[C:4](=O)[CH2:5]Br>>[c:2]1[n:1][c:4][cH:5][s:3]1",
    ),
}

# The chemistry that the target has nothing of.
OTHER_BLOCKS: dict[str, tuple[str, ...]] = {
    "acylated_amino_acid": (
        "CC(=O)NCC(=O)O",
        "CC(=O)NC(C)C(=O)O",
        "CC(=O)NC(CC(C)C)C(=O)O",
        "CC(=O)NC(C(C)C)C(=O)O",
        "CC(=O)NC(CCSC)C(=O)O",
        "CC(=O)NC(Cc1ccc(O)cc1)C(=O)O",
        "CC(=O)N1CCCC1C(=O)O",
        "CC(=O)NC(CO)C(=O)O",
        "CC(=O)NCC(=O)NC(C)C(=O)O",
    ),
    "amino_acid_ester": (
        "NC(C)C(=O)OC",
        "NC(CC(C)C)C(=O)OC",
        "NC(C(C)O)C(=O)OC",
        "NC(CC(N)=O)C(=O)OC",
        "NC(C(C)CC)C(=O)OC",
        "NC(CCC(=O)OC)C(=O)OC",
        "NC(CCCNC(C)=O)C(=O)OC",
        "NC(CS)C(=O)OC",
    ),
    "sugar": (
        "OCC1OC(O)C(O)C(O)C1O",
        "CC1OC(O)C(O)C(O)C1O",
        "OC1COC(O)C(O)C1O",
        "COCC1OC(O)C(OC)C(OC)C1OC",
        "CC(=O)OCC1OC(O)C(O)C1O",
    ),
    "alcohol": (
        "CCCCCCCCO",
        "CCCCCCO",
        "CC(C)=CCCC(C)=CCO",
        "CC(C)C1CCC(C)CC1O",
        "CC(C)=CCCC(C)CCO",
        "CC1(C)C2CCC1(C)C(O)C2",
        "CCCCOCCO",
        "CCOCCOCCO",
    ),
    "fatty_acid": (
        "CCCCCCCC(=O)O",
        "CCCCCCCCCC(=O)O",
        "CCCCCCCCCCCC(=O)O",
        "CCCCC=CCCCCCC(=O)O",
        "CCCCCC(C)CCCC(=O)O",
        "CCCCCCC(O)CCCC(=O)O",
    ),
    "polyol": (
        "OCC(O)COC",
        "OCCOCCOCCOC",
        "OCC(OC(C)=O)COC(C)=O",
        "OCC1COC(C)(C)O1",
        "OCC(C)(C)COC(C)=O",
        "OCCOP(=O)(OC)OC",
    ),
    "steroid": (
        "CC12CCC3C(CCC4=CC(=O)CCC43C)C1CCC2O",
        "CC12CCC3C(CCC4CC(=O)CCC43C)C1CCC2O",
        "CC12CCC3C(CC=C4CC(O)CCC43C)C1CCC2=O",
        "CC12CCC(O)CC1CCC1C2CCC2(C)C(=O)CCC12",
        "CC12CCC3C(CCC4=CC(=O)CCC43)C1CCC2O",
    ),
    "small_acid": ("CC(=O)O", "CCC(=O)O", "CC(C)C(=O)O", "COCC(=O)O", "CCCC(=O)O"),
    "nucleobase": (
        "O=c1cc[nH]c(=O)[nH]1",
        "Cc1c[nH]c(=O)[nH]c1=O",
        "Nc1cc[nH]c(=O)n1",
        "Nc1ncnc2nc[nH]c12",
        "CNc1ncnc2nc[nH]c12",
        "O=c1[nH]cnc2nc[nH]c12",
        "O=c1[nH]c(=O)c(F)c[nH]1",
    ),
    "furanose": (
        "OCC1OC(O)C(O)C1O",
        "OCC1CCC(O)O1",
        "CC(=O)OCC1OC(O)CC1OC(C)=O",
        "OCC1OC(O)C2OC(C)(C)OC12",
    ),
    "silyl_chloride": ("C[Si](C)(Cl)C(C)(C)C", "CC(C)[Si](Cl)(C(C)C)C(C)C", "CC[Si](Cl)(CC)CC"),
    "phosphoryl_chloride": (
        "CCOP(=O)(Cl)OCC",
        "COP(=O)(Cl)OC",
        "CCCCOP(=O)(Cl)OCCCC",
        "CC(C)OP(=O)(Cl)OC(C)C",
        "CCOP(=S)(Cl)OCC",
    ),
}

_ALCOHOL = "[OX2H1;$(O[CX4]);!$(OCO):3]"

OTHER_REACTIONS: dict[str, tuple[str, str, str]] = {
    "peptide": (
        "acylated_amino_acid",
        "amino_acid_ester",
        f"[CX3:1](=[O:2])[OX2H1].{_AMINE}>>[C:1](=[O:2])[N:3]",
    ),
    "glycoside": ("sugar", "alcohol", f"[CX4;R:1]([O;R:2])[OX2H1].{_ALCOHOL}>>[C:1]([O:2])[O:3]"),
    "lipid": ("fatty_acid", "polyol", f"[CX3:1](=[O:2])[OX2H1].{_ALCOHOL}>>[C:1](=[O:2])[O:3]"),
    "steroid_ester": ("small_acid", "steroid", f"[CX3:1](=[O:2])[OX2H1].{_ALCOHOL}>>[C:1](=[O:2])[O:3]"),
    "nucleoside": ("nucleobase", "furanose", "[nH1:1].[CX4;R:2]([O;R:3])[OX2H1]>>[n:1][C:2][O:3]"),
    "silyl_ether": ("silyl_chloride", "alcohol", f"[Si:1]Cl.{_ALCOHOL}>>[Si:1][O:3]"),
    "phosphate": ("phosphoryl_chloride", "alcohol", f"[P:1]Cl.{_ALCOHOL}>>[P:1][O:3]"),
}


def make(
    target_count: int, pool_count: int, noise: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Make the target set, the pool and the truth about the pool; equal arguments give equal tables.

    Args:
        target_count: molecules of the target set.
        pool_count: molecules of the pool, divided over the three groups as evenly as possible.
        noise: standard deviation of the measurement noise, in log units.
        seed: of the choice of products, the noise, the corruption and the order.

    Returns:
        The target and the pool (columns ``smiles``, canonical, and ``crippen_logp_with_noise``, log units with two
        decimals), no two rows of them the same molecule by the first block of the InChIKey; and the control
        (``molecule_id``, ``group``, ``true_label``) with one line per pool row, in the order of the pool.

    Raises:
        ChemsieveError: the building blocks have fewer products than asked for.
    """
    rng = np.random.default_rng(seed)
    counts = [len(range(position, pool_count, len(GROUPS))) for position in range(len(GROUPS))]
    like_count, other_count, corrupted_count = counts
    seen: set[str] = set()
    # Reactions take turns; the shuffle gives target and pool the same mixture of them.
    products = _products(REACTIONS, BLOCKS, target_count + like_count + corrupted_count, seen, rng)
    products = [products[position] for position in rng.permutation(len(products))]
    other = _products(OTHER_REACTIONS, OTHER_BLOCKS, other_count, seen, rng)

    target = pd.DataFrame({SMILES: products[:target_count]})
    true_target = _logp(target[SMILES])
    target[LABEL] = _rounded(true_target + rng.normal(0.0, noise, target_count))

    held_out = products[target_count:]
    smiles = held_out[:like_count] + other + held_out[like_count:]
    group = np.repeat(GROUPS, counts)
    truth = _logp(smiles)
    label = truth + rng.normal(0.0, noise, pool_count)
    # Towards the mean and past it, so that wrong labels are not told by their range alone.
    shift = rng.uniform(*CORRUPTION, pool_count) * np.where(truth > true_target.mean(), -1.0, 1.0)
    label = _rounded(np.where(group == "corrupted_label", truth + shift, label))

    order = rng.permutation(pool_count)
    pool = pd.DataFrame({SMILES: np.array(smiles, dtype=object)[order], LABEL: label[order]})
    control = pd.DataFrame(
        {
            "molecule_id": [f"pool-{row}" for row in range(pool_count)],
            "group": group[order],
            "true_label": truth[order],
        }
    )
    return target, pool, control


def write(folder: str | Path, target_count: int, pool_count: int, noise: float, seed: int) -> None:
    """Write ``target.csv``, ``pool.csv`` and ``control.parquet`` of :func:`make` into a folder, each atomically."""
    target, pool, control = make(target_count, pool_count, noise, seed)
    for name, frame in (("target.csv", target), ("pool.csv", pool)):
        write_text(Path(folder) / name, frame.to_csv(index=False, float_format="%.2f", lineterminator="\n"))
    write_table(control, Path(folder) / "control.parquet", "pool_control")


def _products(
    reactions: dict[str, tuple[str, str, str]],
    blocks: dict[str, tuple[str, ...]],
    count: int,
    seen: set[str],
    rng: np.random.Generator,
) -> list[str]:
    """Canonical SMILES of ``count`` new products, one reaction after the other; ``seen`` gains their first blocks."""
    streams = [_react(smarts, blocks[first], blocks[second], rng) for first, second, smarts in reactions.values()]
    found: list[str] = []
    while streams and len(found) < count:
        for stream in list(streams):
            if len(found) == count:
                break
            # Each turn takes the reaction's next product that is new and of the right size.
            for mol in stream:
                block = chemistry.first_block(mol)
                if block not in seen and _right_size(mol):
                    seen.add(block)
                    found.append(chemistry.canonical_smiles(mol))
                    break
            else:
                streams.remove(stream)
    if len(found) < count:
        raise ChemsieveError(
            f"embedded data set: the building blocks have {len(found)} products and {count} are asked for"
        )
    return found


def _react(
    smarts: str, first: tuple[str, ...], second: tuple[str, ...], rng: np.random.Generator
) -> Iterator[Chem.Mol]:
    """The product of each pair of blocks, in random order; where a pair has several, the alphabetically first."""
    reaction = AllChem.ReactionFromSmarts(smarts)
    pairs = list(itertools.product(map(Chem.MolFromSmiles, first), map(Chem.MolFromSmiles, second)))
    for position in rng.permutation(len(pairs)):
        with rdBase.BlockLogs():
            names = {Chem.MolToSmiles(products[0]) for products in reaction.RunReactants(pairs[position])}
            mols = [mol for mol in map(Chem.MolFromSmiles, sorted(names)) if mol is not None]
        if mols:
            yield min(mols, key=chemistry.canonical_smiles)


def _rounded(labels: np.ndarray) -> np.ndarray:
    """Labels with two decimals, and none of them -0.00."""
    return labels.round(2) + 0.0


def _right_size(mol: Chem.Mol) -> bool:
    fewest, most = HEAVY_ATOMS
    lightest, heaviest = WEIGHT
    return fewest <= mol.GetNumHeavyAtoms() <= most and lightest <= Descriptors.MolWt(mol) <= heaviest


def _logp(smiles: list[str] | pd.Series) -> np.ndarray:
    """Crippen logP of each SMILES, float64."""
    return np.array([Crippen.MolLogP(Chem.MolFromSmiles(text)) for text in smiles])
