"""A tiny MoLFormer's architecture, molecules, and the rounding error that float32 may show."""

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "num_random_features": 8,
    "hidden_dropout_prob": 0.1,
    "embedding_dropout_prob": 0.1,
}
SMILES = [
    "CCO", "c1ccccc1", "CC(=O)O", "CCN(CC)CC", "c1ccncc1", "CC(C)C", "OCCO", "ClCCl", "CC#N", "c1ccc2ccccc2c1",
    "CNC(=O)c1ccccc1", "COc1ccccc1", "Cc1ccccc1N", "O=C1CCCN1", "CCCCCC", "C1CCOC1", "CS(C)=O", "Brc1ccccc1",
    "FC(F)(F)c1ccccc1", "NCCc1ccccc1", "CC(=O)Nc1ccccc1", "O=C(O)c1ccccc1", "c1ccsc1", "CCOC(C)=O",
]  # fmt: skip


def rounding(width: int, products: int) -> float:
    """Relative error to expect of float32 after a chain of matrix products with inner dimension ``width``.

    Whatever the processor: rounding errors of a sum of n terms grow like sqrt(n) u, with a small factor that few exceed
    (Higham and Mary 2019, 10.1137/18M1226312), and those of a chain, being independent, add in squares. A forward pass
    of two layers and its backward pass make thirty products.
    """
    return 4 * (products * width) ** 0.5 * 2.0**-24
