"""Which faults the tests of a module would not see: plant each, run the tests, print what survives.

    python benchmarks/mutation.py budgets                    one of: budgets, data, kernel, splitting, statistics
    python benchmarks/mutation.py statistics --only power.py --jobs 2

A fault is one small change of the syntax tree: another comparison, operator or number, a condition that is negated, an
argument that is left out, a statement that is not run. Each is planted in a copy of the sources, and the tests that run
its line are run there, quickest first, up to the first failure; where none fails, so are all tests that run any line of
the file. A fault that makes them take far longer than before counts as seen. Not planted: docstrings,
annotations, messages of errors, options' schemas.

`benchmarks/mutants.txt` lists the survivors that are no gap, a line each: file, function, change, and why the change is
equivalent or harmless. The command prints all others and ends with status 1 where there are some; it also names entries
of that list that are seen by now or no longer there.

It costs half a second to some seconds a fault on one core, since the libraries are imported once and each fault runs in
a fork: on a busy machine of two cores 43 s for budgets (26 faults), 139 s for the kernel (224) and 230 s for the
splitters (217). Statistics (719) and data (108) have slower tests: there --only takes some files, --jobs more cores.
Established tools start Python and import torch anew for each fault. It needs a system that forks (Linux, macOS).
"""

import argparse
import ast
import builtins
import copy
import gc
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("workflow_scripts/chemsieve")
LISTED = ROOT / "benchmarks" / "mutants.txt"
NEEDED = ("workflow_scripts", "tests", "rules", "studies", "profiles", "envs", "resources", "docs")

# Sources below the package, and the tests that should see their faults.
MODULES = {
    "budgets": (["study/budgets.py"], ["test_selection.py", "test_properties.py"]),
    "data": (
        ["data/acceptance.py", "data/molecules.py"],
        ["test_data.py", "test_acceptance.py", "test_formats.py", "test_malformed.py", "test_properties.py"],
    ),
    "kernel": (["influence/kernel.py"], ["test_kernel.py", "test_properties.py"]),
    "splitting": (["splitting"], ["test_splitting.py", "test_properties.py"]),
    "statistics": (
        ["statistics"],
        [
            *("test_statistics.py", "test_calibration.py", "test_evaluation.py", "test_planning.py"),
            *("test_settling.py", "test_properties.py"),
        ],
    ),
}
# What runs the whole workflow: minutes, for faults that the rest should see.
LEFT_OUT = ["--deselect", "tests/test_formats.py::test_own_files_of_other_formats_reach_the_tables"]
LEFT_OUT += [
    "--deselect",
    "tests/test_malformed.py::test_a_results_folder_that_cannot_be_written_to_stops_the_workflow",
]

LIBRARIES = [
    "pytest",
    "_pytest.assertion.rewrite",
    "hypothesis.extra.numpy",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
]
LIBRARIES += ["sklearn.linear_model", "torch", "transformers", "peft", "tokenizers", "psutil", "yaml", "jsonschema"]
LIBRARIES += ["rdkit.Chem.rdFingerprintGenerator", "rdkit.Chem.Scaffolds.MurckoScaffold", "plotly.graph_objects"]
LIBRARIES += ["rdkit.Chem.rdMolDescriptors", "rdkit.SimDivFilters.rdSimDivPickers", "scipy.optimize", "scipy.linalg"]
LIBRARIES += ["sklearn.metrics", "sklearn.kernel_ridge", "pyarrow", "huggingface_hub", "transformers.trainer"]

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "argmin": "argmax", "argmax": "argmin"}
UNWRAPPED = ("abs", "sorted", "set", "round")  # calls that may be left out: f(x) becomes x


@dataclass(frozen=True)
class Mutant:
    """One fault: where it is, what stood there and what stands there now, and the source with it."""

    file: str
    function: str
    line: int
    change: str
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is known by in the list: no line number, which other edits move."""
        return self.file, self.function, self.change


def mutants_of(file: str, source: str) -> Iterator[Mutant]:
    """All faults of one source, in its order."""
    tree = ast.parse(source)
    seen: dict[tuple[str, str], int] = {}
    for number, (node, function, line) in enumerate(_nodes(tree)):
        for change in range(len(list(_changes(node)))):
            changed = copy.deepcopy(tree)
            at = _nodes(changed)[number][0]
            before = _short(at)
            after = list(_changes(at))[change]()
            text = f"{before} => {after}"
            seen[function, text] = seen.get((function, text), 0) + 1
            if (count := seen[function, text]) > 1:
                text += f" ({count})"
            yield Mutant(file, function, line, text, ast.unparse(ast.fix_missing_locations(changed)))


def _short(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:100]


def _nodes(tree: ast.Module) -> list[tuple[ast.AST, str, int]]:
    """Nodes that faults are planted at, with the name of their function and the first line of their statement."""
    found: list[tuple[ast.AST, str, int]] = []

    def visit(node: ast.AST, function: str, line: int) -> None:
        line = node.lineno if isinstance(node, ast.stmt) else line
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            function = node.name if function == "-" else f"{function}.{node.name}"
            inner = [*node.body]
            if isinstance(node, ast.FunctionDef):
                inner += [*node.args.defaults, *(value for value in node.args.kw_defaults if value)]
        elif isinstance(node, ast.Raise):
            found.append((node, function, line))  # not what it says
            return
        elif isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr):
            return
        elif isinstance(node, ast.AnnAssign):
            inner = [node.value] if node.value and not _is_options(node.target) else []
        elif isinstance(node, ast.Assign) and _is_options(node.targets[0]):
            return
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring
        elif isinstance(node, ast.If) and _short(node.test) == "TYPE_CHECKING":
            return
        elif isinstance(node, ast.Call) and _short(node.func) in ("ChemsieveError", "InfluenceDivergence", "progress"):
            inner = node.args[:1] if _short(node.func) == "progress" else []
        else:
            found.append((node, function, line))
            inner = list(ast.iter_child_nodes(node))
        for child in inner:
            visit(child, function, line)

    visit(tree, "-", 0)
    return [one for one in found if hasattr(one[0], "lineno")]


def _is_options(target: ast.AST) -> bool:
    return isinstance(target, ast.Name) and target.id == "OPTIONS"


def _changes(node: ast.AST) -> Iterator:
    """Functions that change a node in place, and say what it has become."""

    def put(**fields):
        def change() -> str:
            for name, value in fields.items():
                setattr(node, name, value)
            return _short(node)

        return change

    def become(other: ast.AST):
        def change() -> str:
            said = _short(other)
            node.__class__ = other.__class__
            node.__dict__.clear()
            node.__dict__.update(other.__dict__)
            return said

        return change

    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            if type(operator) in COMPARISONS:
                yield put(ops=[*node.ops[:place], COMPARISONS[type(operator)](), *node.ops[place + 1 :]])
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS and not _is_text(node):
        yield put(op=OPERATORS[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield put(op=ast.And() if isinstance(node.op, ast.Or) else ast.Or())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield become(copy.deepcopy(node.operand))
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        value = not node.value if isinstance(node.value, bool) else node.value + 1
        yield put(value=value)
        if isinstance(node.value, float) and node.value:
            yield put(value=node.value * 0.8)
    elif isinstance(node, ast.IfExp):
        yield put(test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.If | ast.While) and not isinstance(node.test, ast.Compare | ast.UnaryOp):
        yield _put_test(node)
    elif isinstance(node, ast.Call):
        for place in range(len(node.keywords)):
            yield put(keywords=node.keywords[:place] + node.keywords[place + 1 :])
        if len(node.args) > 1:
            yield put(args=node.args[:-1])
        if isinstance(node.func, ast.Name) and node.func.id in UNWRAPPED and len(node.args) == 1 and not node.keywords:
            yield become(copy.deepcopy(node.args[0]))
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in NAMES:
            changed = copy.deepcopy(node.func)
            setattr(changed, "id" if isinstance(changed, ast.Name) else "attr", NAMES[name])
            yield put(func=changed)
    elif isinstance(node, ast.Expr | ast.AugAssign | ast.Raise | ast.Break | ast.Continue):
        yield become(ast.Pass())


def _put_test(node: ast.If | ast.While):
    def change() -> str:
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return f"if {_short(node.test)}"

    return change


def _is_text(node: ast.BinOp) -> bool:
    return any(isinstance(side, ast.JoinedStr) or _says(side) for side in (node.left, node.right))


def _says(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


# -- running tests -----------------------------------------------------------------------------------------------------


class Statements(ast.NodeTransformer):
    """Puts a note before each statement of a function, so that it is known which tests run it."""

    def __init__(self, file: str):
        self.file, self.within = file, 0

    def generic_visit(self, node: ast.AST) -> ast.AST:
        function = isinstance(node, ast.FunctionDef)
        self.within += function
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody") if self.within else ():
            if isinstance(block := getattr(node, name, None), list):
                setattr(node, name, [part for one in block for part in (self._note(one), one)])
        self.within -= function
        return node

    def _note(self, statement: ast.stmt) -> ast.stmt:
        return ast.parse(f"__note__({f'{self.file}:{statement.lineno}'!r})").body[0]


class Lines:
    """A pytest plugin that keeps the processor time of each test, and the statements that it runs."""

    def __init__(self):
        self.seconds, self.lines, self.found, self.fixtures = {}, {}, set(), {}
        self.making, self.needs = {}, {}  # seconds that a fixture takes; that a test's fixtures take
        builtins.__note__ = lambda line: self.found.add(line)

    def pytest_runtest_setup(self, item):
        self.found = self.lines[item.nodeid] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        """What a fixture runs counts for each test that uses it, not only for the first, whose turn it is made in."""
        outer, self.found = self.found, self.fixtures.setdefault(id(fixturedef), set())
        began = time.process_time()
        try:
            return (yield)
        finally:
            self.making[id(fixturedef)] = time.process_time() - began
            outer |= self.found
            self.found = outer

    def pytest_runtest_teardown(self, item):
        for definitions in item._fixtureinfo.name2fixturedefs.values():
            for one in definitions:
                self.lines[item.nodeid] |= self.fixtures.get(id(one), set())
                self.needs[item.nodeid] = self.needs.get(item.nodeid, 0) + self.making.get(id(one), 0)

    def pytest_runtest_logstart(self, nodeid):
        self.began = time.process_time()

    def pytest_runtest_logfinish(self, nodeid):
        self.seconds[nodeid] = time.process_time() - self.began


class Hurried:
    """A pytest plugin that ends the process where a test needs far more processor time than on sound sources."""

    def __init__(self, allowed: dict[str, float]):
        self.allowed = allowed

    def pytest_runtest_setup(self, item):
        signal.setitimer(signal.ITIMER_VIRTUAL, self.allowed[item.nodeid])


class Unshrunk:
    """A pytest plugin that spares Hypothesis the search for the smallest example of a failure."""

    def pytest_collection(self):
        from hypothesis import Phase, settings

        settings.register_profile("unshrunk", settings(phases=[Phase.explicit, Phase.generate]))
        settings.load_profile("unshrunk")


def warm() -> None:
    """Import what takes long, and nothing of the project's own: each fork imports that anew."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()


def forked(folder: Path, work) -> int:
    """Start ``work`` in a fork that stands in ``folder`` and says nothing; its process."""
    sys.stdout.flush()
    if process := os.fork():
        return process
    status = 3
    try:
        os.setpgrp()
        os.chdir(folder)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        status = work()
    finally:
        os._exit(int(status))


def run_tests(tests: list[str], *plugins: object) -> int:
    """Pytest's status for some tests, up to the first failure."""
    # Nothing that takes a second anew in each fork: plugins that are not needed, assertions that explain themselves.
    if not tests:
        return 0  # pytest would run all there are
    quick = ["--assert=plain", "-p", "no:cacheprovider", "-p", "no:unraisableexception", "-p", "no:threadexception"]
    return pytest.main(["-x", "-q", *quick, *LEFT_OUT, *tests], plugins=[Unshrunk(), *plugins])


def surveyed(folder: Path, tests: list[str], files: list[str]) -> tuple[dict, dict, dict]:
    """Of each test on the sources as they are: seconds, statements, and the seconds that a fault may make it take."""
    notes = folder / "notes.json"
    originals = {file: (folder / file).read_bytes() for file in files}
    for file, source in originals.items():
        noted = ast.fix_missing_locations(Statements(file).visit(ast.parse(source)))
        (folder / file).write_text(ast.unparse(noted), encoding="utf-8")

    def work() -> int:
        plugin = Lines()
        status = run_tests(tests, plugin)
        lines = {name: sorted(found) for name, found in plugin.lines.items()}
        allowed = {name: 5 + 5 * (took + plugin.needs.get(name, 0)) for name, took in plugin.seconds.items()}
        notes.write_text(json.dumps([status, plugin.seconds, lines, allowed]))
        return status

    _, status = os.waitpid(forked(folder, work), 0)
    for file, source in originals.items():
        (folder / file).write_bytes(source)
        _forget(folder / file)
    if status:
        sys.exit("mutation: the tests fail on the sources as they are")
    _, seconds, lines, allowed = json.loads(notes.read_text())
    return seconds, lines, allowed


def _forget(path: Path) -> None:
    """Remove what was compiled of a source."""
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()


def copied(folder: Path) -> None:
    """A copy of what the tests need."""
    for name in NEEDED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy2(path, folder / path.name)


class Worker:
    """A copy of the sources in which one fault after another is planted."""

    def __init__(self, folder: Path, allowed: dict[str, float]):
        self.folder = folder
        self.allowed = allowed
        self.mutant: Mutant | None = None

    def plant(self, mutant: Mutant, tests: list[str], limit: float) -> None:
        """Start the tests on a fault."""
        path = self.folder / mutant.file
        self.original, self.mutant = path.read_bytes(), mutant
        path.write_text(mutant.source, encoding="utf-8")
        _forget(path)

        def work() -> int:
            sys.dont_write_bytecode = True
            return run_tests(tests, Hurried(self.allowed))

        self.process, self.ends = forked(self.folder, work), time.monotonic() + limit

    def status(self) -> int | None:
        """Pytest's status once the tests have ended, other than 0 too where they were cut off; None until then."""
        process, status = os.waitpid(self.process, os.WNOHANG)
        if not process:
            if time.monotonic() < self.ends:
                return None
            os.killpg(self.process, signal.SIGKILL)
            _, status = os.waitpid(self.process, 0)
        (self.folder / self.mutant.file).write_bytes(self.original)
        return os.waitstatus_to_exitcode(status)


def survivors(mutants: list[Mutant], tests: list[str], folder: Path, jobs: int, longest: float) -> list[Mutant]:
    """The faults with which no test fails that takes at most ``longest`` seconds."""
    files = sorted({mutant.file for mutant in mutants})
    copied(folder / "0")
    seconds, lines, allowed = surveyed(folder / "0", tests, files)
    lines = {name: found for name, found in lines.items() if seconds[name] <= longest}
    for number in range(1, jobs):
        shutil.copytree(folder / "0", folder / str(number))  # with what was compiled
    workers = [Worker(folder / str(number), allowed) for number in range(jobs)]
    at: dict[str, list[str]] = {}
    for name, found in lines.items():
        for line in found:
            at.setdefault(line, []).append(name)
    whole = {  # the tests that run any statement of a file
        file: sorted(
            (name for name, ran in lines.items() if any(line.startswith(f"{file}:") for line in ran)), key=seconds.get
        )
        for file in files
    }
    patience = 60 + 10 * sum(seconds.values())  # on the wall, for what waits
    # First the tests that run the fault's line, then the file's others, since a cache may have run the line for them.
    waiting = []
    for mutant in mutants[::-1]:
        first = sorted(at.get(f"{mutant.file}:{mutant.line}", []), key=seconds.get)
        others = [name for name in whole[mutant.file] if name not in first]
        waiting.append((mutant, [tests for tests in (others, first) if tests]))
    found, done, began = [], 0, time.monotonic()
    running: dict[int, list[list[str]]] = {}
    while waiting or running:
        for number, worker in enumerate(workers):
            if number in running:
                if (status := worker.status()) is None:
                    continue
                left = running.pop(number)
                if status == 0 and left:
                    waiting.append((worker.mutant, left))
                else:
                    done += 1
                    if status == 0:
                        found.append(worker.mutant)
                        print(
                            f"survived: {worker.mutant.file}:{worker.mutant.line}: {worker.mutant.change}", flush=True
                        )
                    if done % 50 == 0:
                        print(f"  {done} of {len(mutants)}, {time.monotonic() - began:.0f} s", flush=True)
            if number not in running and waiting:
                mutant, left = waiting.pop()
                worker.plant(mutant, left.pop() if left else [], patience)
                running[number] = left
        time.sleep(0.005)
    return found


def listed() -> dict[tuple[str, str, str], str]:
    """Why each listed survivor is no gap, by its key."""
    rows = [line for line in LISTED.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    parts = [[part.strip() for part in row.split(" | ")] for row in rows]
    wrong = [row for row, part in zip(rows, parts, strict=True) if len(part) != 4 or not all(part)]
    if wrong:
        sys.exit(f"mutation: {LISTED.name}: a line needs file | function | change | why, not {wrong[0]!r}")
    return {(file, function, change): why for file, function, change, why in parts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", choices=sorted(MODULES))
    parser.add_argument(
        "--only", nargs="+", default=[""], help="source files of the module, by the ends of their paths"
    )
    parser.add_argument("--jobs", type=int, default=1, help="faults at a time (default 1)")
    parser.add_argument(
        "--longest",
        type=float,
        default=float("inf"),
        help="seconds; tests that take longer on sound sources are left out",
    )
    arguments = parser.parse_args()
    places, tests = MODULES[arguments.module]
    paths = [path for place in places for path in ([ROOT / PACKAGE / place] if place.endswith(".py") else
                                                   sorted((ROOT / PACKAGE / place).glob("*.py")))]  # fmt: skip
    files = [str(path.relative_to(ROOT)) for path in paths if str(path).endswith(tuple(arguments.only))]
    mutants = [one for file in files for one in mutants_of(file, (ROOT / file).read_text(encoding="utf-8"))]
    print(f"{len(mutants)} faults in {len(files)} files", flush=True)
    began = time.monotonic()
    warm()
    with tempfile.TemporaryDirectory() as folder:
        names = [f"tests/{name}" for name in tests]
        found = survivors(mutants, names, Path(folder).resolve(), arguments.jobs, arguments.longest)
    known, keys = listed(), {one.key for one in found}
    unexplained = [one for one in found if one.key not in known]
    stale = [key for key in known if key[0] in files and key not in keys]
    print(f"{len(mutants)} faults, {len(found)} survive, {len(found) - len(unexplained)} of them explained, "
          f"{time.monotonic() - began:.0f} s")  # fmt: skip
    for one in unexplained:
        print(f"{one.file} | {one.function} | {one.change} |  (line {one.line})")
    for key in stale:
        print(f"listed, and seen or gone: {' | '.join(key)}")
    sys.exit(1 if unexplained else 0)


if __name__ == "__main__":
    main()
