"""Every module of an extension point against the protocol of its package: attributes, names, signatures."""

import ast
import importlib
import inspect
import typing

import pytest

from chemsieve import baselines, methods, registry, selection, splitting, uses
from chemsieve.errors import ChemsieveError
from chemsieve.influence import estimators
from chemsieve.models import encoders

PROTOCOLS = {
    baselines: [baselines.DescriptorModel],
    encoders: [encoders.EncoderFamily],
    estimators: [estimators.KernelEstimator, estimators.Solver, estimators.TrainingEstimator],
    methods: [methods.Method],
    selection: [selection.Strategy],
    splitting: [splitting.Splitter, splitting.ColumnSplitter],
    uses: [uses.Use],
}
CHOICES = [
    (package, name) for package in PROTOCOLS for name in registry.choices(package.__name__.removeprefix("chemsieve."))
]


def fits(value, hint):
    """Whether a module's attribute has the type that the protocol gives it."""
    if typing.get_origin(hint) is typing.Literal:
        return value in typing.get_args(hint) and type(value) in map(type, typing.get_args(hint))
    if hint == tuple[str, ...]:
        return isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    return isinstance(value, hint)


def functions(node):
    """The functions that a module or a class defines, by name."""
    return {child.name: child for child in node.body if isinstance(child, ast.FunctionDef)}


def parsed(something):
    return ast.parse(inspect.getsource(something))


def parameters(function):
    """Names and annotations of a function's parameters, as they are written, without ``self``."""
    given = [*function.args.args, *function.args.kwonlyargs]
    return [(a.arg, a.annotation and ast.unparse(a.annotation)) for a in given if a.arg != "self"]


def mistakes(module, protocol):
    """What a module lacks of its protocol."""
    found = []
    for name, hint in typing.get_type_hints(protocol).items():
        if not fits(vars(module).get(name), hint):
            found.append(f"{name} is not declared as {hint}")
    own = functions(parsed(module))
    for name, wanted in functions(parsed(protocol).body[0]).items():
        if name not in own:
            found.append(f"there is no function {name}")
            continue
        expected, given = parameters(wanted), parameters(own[name])
        if given[: len(expected)] != expected:
            found.append(f"{name} takes {given}")
        if ast.unparse(own[name].returns) != ast.unparse(wanted.returns):
            found.append(f"{name} returns {ast.unparse(own[name].returns)}")
        options = list(inspect.signature(getattr(module, name)).parameters.values())[len(expected) :]
        if wanted.args.kwarg is None:
            found += [f"{name} takes {option.name}" for option in options]
        elif any(option.kind == option.VAR_KEYWORD for option in options):
            continue
        elif {option.name for option in options} != set(module.OPTIONS):
            found.append(f"{name} takes other options than OPTIONS has")
        elif any(option.default is option.empty for option in options):
            found.append(f"{name} has an option without default")
    return found


@pytest.mark.parametrize(("package", "name"), CHOICES, ids=lambda value: getattr(value, "__name__", value))
def test_every_choice_keeps_to_its_protocol(package, name):
    module = package.load(name)
    assert module is importlib.import_module(f"{package.__name__}.{name}")
    # Of two kinds, the one whose tag the module has.
    lacking = [mistakes(module, protocol) for protocol in PROTOCOLS[package]]
    assert [] in lacking, min(lacking, key=len)
    assert lacking.count([]) == 1


@pytest.mark.parametrize("package", PROTOCOLS, ids=lambda package: package.__name__)
def test_an_unknown_choice_is_refused(package):
    with pytest.raises(ChemsieveError, match="unknown choice 'best'"):
        package.load("best")


def test_what_a_module_lacks_is_seen():
    """Modules of other extension points, and of the other kind, do not pass."""
    shapley, lissa = estimators.load("shapley"), estimators.load("lissa")
    assert any("KERNEL" in line for line in mistakes(lissa, estimators.KernelEstimator))
    assert "there is no function solve" in mistakes(shapley, estimators.Solver)
    found = mistakes(shapley, selection.Strategy)
    assert any(line.startswith("NEEDS is not declared") for line in found)
    assert any(line.startswith("score takes [('task', 'Task')") for line in found)
    assert any(line.startswith("score returns Scores") for line in found)


def test_what_a_strategy_does_not_need_it_cannot_read():
    context = selection.Context()
    with pytest.raises(LookupError, match="NEEDS"):
        context.embeddings()
    with pytest.raises(LookupError, match="NEEDS"):
        selection.needed(context.training)
    assert selection.needed(3) == 3
