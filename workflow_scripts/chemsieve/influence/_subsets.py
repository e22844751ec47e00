"""Parts of a regressor whose gradients may stand for all."""

from fnmatch import fnmatchcase

from chemsieve.errors import ChemsieveError

SUBSETS = {"all": "*", "attention": "*.attention.*", "head": "head.*"}


def restrict(model, subset: str) -> None:
    """Leave only the parameters of a subset trainable.

    Raises:
        ChemsieveError: the model has none of them.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and fnmatchcase(name, SUBSETS[subset]))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ChemsieveError(f"influence.parameters: this regressor trains no parameter of the {subset}")
