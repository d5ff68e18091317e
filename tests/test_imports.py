"""Imports point down the rooms of docs/architecture.md, packages have one home each, and nothing heavy loads early."""

from __future__ import annotations

import ast
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import keepsake

PACKAGE = Path(keepsake.__file__).parent
RunPython = Callable[[str], str]

# From the bottom to the top; a package stands for all modules in it
ROOMS = [
    "exceptions util version",
    "config origin packages",
    "storage",
    "checks labels restarts output status metadata",
    "archive",
    "spool",
    "listing",
    "repository",
    "restoring",
    "workplace",
    "recording",
    "importing",
    "compare",
    "display",
    "report",
    (
        "project collection analysis beginning comparison inert experiment recorded checkpoint labelled outcome "
        "pruning upkeep"
    ),
    "integrations",
    "keras_callback pl_callback console constants hash json system validate",
    "accelerate catboost hydra keras lightgbm lightning optuna ray sklearn tensorboard transformers wandb xgboost",
    "cli __init__ __main__",
]

# Where each package from outside, or module that costs something, may be imported
HOMES = {
    "accelerate": ["integrations.accelerate"],
    "botocore": ["storage.s3", "storage.s3_errors", "storage.s3_uploads"],
    "catboost": ["integrations.catboost"],
    "click": ["cli"],
    "google": ["storage.gcs"],
    "hydra": ["integrations.hydra"],
    "isal": ["archive.gzip"],
    "joblib": ["integrations.sklearn"],
    "keras": ["integrations.keras"],
    "lightning_utilities": ["integrations.lightning"],
    "matplotlib": ["display.axes", "display.figures", "display.parallel", "display.params"],
    "msgspec": ["listing.bulk"],
    "omegaconf": ["integrations.hydra"],
    "pandas": ["display.frames"],
    "pathspec": ["util.ignore"],
    "plotille": ["display.terminal"],
    "polars": ["display.frames"],
    "ray": ["integrations.ray_tune"],
    "requests": ["storage.gcs"],
    "tabulate": ["cli.export"],
    "tarfile": ["archive.tar", "report.vendoring"],
    "transcript": ["util.tee"],  # our own, loaded without the package
    "transformers": ["integrations.transformers"],
    "xgboost": ["integrations.xgboost"],
    "xxhash": ["archive.contents"],
    "yaml": ["config", "importing.mlflow_folder", "integrations.wandb_arguments"],
}

SHARED_IN_STORAGE = [
    "base",
    "bucket",
    "disk_errors",
    "downloads",
    "network",
    "claims",
    "drafts",
    "reading",
    "versions",
    "writing",
    "s3_errors",
    "s3_uploads",
]

NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}  # public in spite of their names

Trees = dict[str, ast.Module]  # name within the package, such as `cli.ls`, → syntax tree


def package_trees() -> Trees:
    return {
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", "."): ast.parse(path.read_text("utf-8"))
        for path in PACKAGE.rglob("*.py")
    }


def imports(tree: ast.Module) -> Iterator[str]:
    """The dotted names that are imported, wherever in the module: `a.b` for `import a.b` and for `from a import b`.

    What is imported for types alone does not count: what shows an experiment may say so.
    """
    for node in at_run_time(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below a node but those of `if TYPE_CHECKING:`."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from at_run_time(child)


def own_imports(trees: Trees) -> Iterator[tuple[str, str]]:
    """(module, module of this package that it imports)."""
    for module, tree in trees.items():
        for name in imports(tree):
            top, *parts = name.split(".")
            if top == "keepsake":
                yield module, own_module(parts, trees)


def own_module(parts: list[str], trees: Trees) -> str:
    """The module that `keepsake.…` is, or is a name in."""
    for length in range(len(parts), -1, -1):
        for candidate in (".".join(parts[:length]), ".".join([*parts[:length], "__init__"])):
            if candidate in trees:
                return candidate
    raise AssertionError(f"there is no module keepsake.{'.'.join(parts)}")


def is_in(module: str, names: list[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def level(module: str) -> int:
    levels = [number for number, names in enumerate(ROOMS) if is_in(module, names.split())]
    assert len(levels) == 1, f"{module} has no room in ROOMS: put it where docs/architecture.md says"
    return levels[0]


def pointing_up(trees: Trees) -> list[str]:
    return [f"{module} imports {target}" for module, target in own_imports(trees) if level(target) > level(module)]


def sideways_in_storage(trees: Trees) -> list[str]:
    return [
        f"{module} imports {target}"
        for module, target in own_imports(trees)
        if module.startswith("storage.") and target.startswith("storage.")
        if module != "storage.__init__"
        if target not in (module, *(f"storage.{name}" for name in SHARED_IN_STORAGE))
    ]


def away_from_home(trees: Trees) -> list[str]:
    return [
        f"{module} imports {name}"
        for module, tree in trees.items()
        for name in imports(tree)
        for top in [name.split(".")[0]]
        if top != "keepsake" and (top in HOMES or top not in sys.stdlib_module_names)
        if not is_in(module, HOMES.get(top, []))
    ]


def test_imports_never_point_up() -> None:
    assert pointing_up(package_trees()) == []


def test_storage_backends_know_only_the_contract() -> None:
    """They do not know each other, so each can be read, replaced or removed alone."""
    assert sideways_in_storage(package_trees()) == []


def test_packages_from_outside_have_one_home_each() -> None:
    assert away_from_home(package_trees()) == []


def names_defined(tree: ast.Module) -> set[str]:
    """Every attribute and method that a module defines."""
    return {
        node.name if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        or (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    }


def private_reaching(trees: Trees) -> list[str]:
    """Uses of `_name` of another module's object: the name is defined in this package, and not in the module itself."""
    defined = {module: names_defined(tree) for module, tree in trees.items()}
    everywhere = set().union(*defined.values())
    return [
        f"{module} uses {ast.unparse(node)}"
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
        if ast.unparse(node.value) not in ("self", "cls")  # what a base class defines
        if node.attr in everywhere - defined[module] - NAMED_TUPLES
    ]


def test_no_module_uses_private_names_of_another() -> None:
    assert private_reaching(package_trees()) == []


def test_every_home_and_room_is_lived_in() -> None:
    """HOMES and ROOMS list nothing that no longer exists."""
    trees = package_trees()
    imported = {name.split(".")[0] for tree in trees.values() for name in imports(tree)}
    assert HOMES.keys() - imported == set()
    assert set(" ".join(ROOMS).split()) - {module.split(".")[0] for module in trees} == set()


def test_the_architecture_page_names_every_module() -> None:
    page = (PACKAGE.parent / "docs/architecture.md").read_text("utf-8")
    tree = page.split("```")[1]
    names = {path.name for path in PACKAGE.rglob("*.py")} - {"__init__.py", "__main__.py"}
    missing = {name for name in names if name not in tree.split()}
    command_names = {path.name for path in (PACKAGE / "cli").glob("*.py")}  # "one command a file"
    assert missing - command_names == set()


def test_what_breaks_these_rules_is_found() -> None:
    sources = {
        "__init__": "from keepsake.project import init",
        "project": "import keepsake",
        "util.values": "def f():\n    from keepsake.display import figures\n    import yaml.nodes",
        "display.figures": "import matplotlib.pyplot\nimport os\nimport requests",
        "storage.__init__": "from keepsake.storage.disk import DiskStorage",
        "storage.base": "",
        "storage.disk": "from keepsake.storage import base, s3",
        "storage.s3": "from keepsake.storage import open_storage\nimport botocore",
    }
    trees = {module: ast.parse(source) for module, source in sources.items()}
    assert pointing_up(trees) == ["project imports __init__", "util.values imports display.figures"]
    assert sideways_in_storage(trees) == ["storage.disk imports storage.s3", "storage.s3 imports storage.__init__"]
    assert away_from_home(trees) == ["util.values imports yaml.nodes", "display.figures imports requests"]


def test_private_reaching_is_found() -> None:
    sources = {
        "a": "class A:\n def __init__(self):\n  self._x = 1\n def _f(self, other):\n  return other._x",
        "b": "def g(a):\n    return a._f(), a._x, a.__class__, os._exit(1)",
    }
    trees = {module: ast.parse(source) for module, source in sources.items()}
    assert sorted(private_reaching(trees)) == ["b uses a._f", "b uses a._x"]


# What is loaded, in a fresh interpreter

PROGRAM = """
import sys
before = set(sys.modules)
try:
    {statements}
finally:
    loaded = {{name.split(".")[0] for name in set(sys.modules) - before}}
    print(*(loaded - sys.stdlib_module_names - {{"keepsake"}}))
"""


def loaded_by(run_python: RunPython, statements: str) -> tuple[str, set[str]]:
    """What a program prints, and the packages that it loads but for the standard library and this one."""
    *printed, loaded = run_python(PROGRAM.format(statements=statements)).splitlines()
    return "\n".join(printed), set(loaded.split())


def test_importing_keepsake_loads_nothing_from_outside(run_python: RunPython) -> None:
    assert loaded_by(run_python, "import keepsake") == ("", set())


def test_importing_keepsake_looks_for_no_project(project_directory: Path, run_python: RunPython) -> None:
    """Even a broken configuration file does not matter."""
    (project_directory / "keepsake.yaml").write_text("not: a: configuration")
    statements = "import keepsake; keepsake.init, keepsake.experiments, keepsake.Project, keepsake.Experiment"
    assert loaded_by(run_python, statements) == ("", set())


def test_listing_a_local_repository_loads_no_heavy_package(project_directory: Path, run_python: RunPython) -> None:
    write_experiment(project_directory / "repo")
    printed, loaded = loaded_by(run_python, LS)
    assert EXPERIMENT["id"][:7] in printed
    assert "click" in loaded
    heavy = {
        "boto3",
        "botocore",
        "google",
        "isal",
        "matplotlib",
        "numpy",
        "pandas",
        "pathspec",
        "tabulate",
        "torch",
        "xxhash",
    }
    assert not loaded & heavy


# What takes long, and is of no use to most programs
SLOW = {"asyncio", "concurrent", "ctypes", "dataclasses", "email", "hashlib", "http", "importlib.metadata", "random"}
SLOW |= {"shutil", "socket", "ssl", "statistics", "subprocess", "tarfile", "tempfile", "urllib.request", "xml"}
SLOW -= {"dataclasses"} if sys.version_info >= (3, 14) else set()  # the logging module loads it there
SLOW -= {"subprocess"} if sys.version_info < (3, 11) else set()  # uuid loads it there, which click imports
LS = "sys.argv = ['keepsake', 'ls']; sys.orig_argv = ['python', *sys.argv]; import keepsake.cli; keepsake.cli.main()"


def modules_loaded_by(run_python: RunPython, statements: str) -> tuple[set[str], set[str]]:
    """The slow modules that a program loads, and the rooms of this package, or modules outside of rooms."""
    program = f"import sys\ntry:\n    {statements}\nfinally:\n    print(*sys.modules)"
    loaded = set(run_python(program).splitlines()[-1].split())
    own = {name.removeprefix("keepsake.") for name in loaded if name.startswith("keepsake.")}
    return loaded & SLOW, own


def test_importing_keepsake_loads_what_records_and_nothing_else(run_python: RunPython) -> None:
    """So neither `import keepsake` nor init() takes longer than necessary."""
    slow, own = modules_loaded_by(run_python, "import keepsake")
    assert slow == set()
    assert {"recording.run", "experiment", "checkpoint"} <= own
    rooms = {name.partition(".")[0] for name in own}
    assert not rooms & {"cli", "collection", "compare", "display", "importing", "integrations", "listing", "report"}
    assert not own & {"repository.view", "repository.finding", "repository.pruning", "recording.amount", "util.ignore"}


def test_saving_files_loads_little(run_python: RunPython) -> None:
    """The script waits for it in init()."""
    slow, _ = modules_loaded_by(run_python, "import keepsake.archive.writer")
    assert slow <= {"concurrent", "shutil", "tarfile"}


def test_init_and_checkpoint_load_nothing_while_the_script_waits(
    project_directory: Path, run_python: RunPython
) -> None:
    statements = """import keepsake, threading
    known, main = set(sys.modules), threading.current_thread()
    class Finder:
        def find_spec(self, name, *_):
            if threading.current_thread() is main:
                print("loads", name)
    sys.meta_path.insert(0, Finder())
    keepsake.init(params={"lr": 0.1}, quiet=True).checkpoint(metrics={"loss": 0.5}, primary_metric=("loss", "minimize"))
    sys.meta_path.pop(0)"""
    printed = run_python(f"import sys\nif True:\n    {statements}")
    assert set(printed.split()) <= {"loads", "pwd"}


def test_listing_loads_what_it_shows_and_nothing_else(project_directory: Path, run_python: RunPython) -> None:
    write_experiment(project_directory / "repo")
    slow, own = modules_loaded_by(run_python, LS)
    assert slow == set()
    assert "listing.index" in own
    assert not own & {"collection", "experiment", "checkpoint", "recording.run", "recording.saver", "listing.grammar"}
    assert not {name.partition(".")[0] for name in own} & {"compare", "display", "importing", "report", "restoring"}


def test_showing_an_experiment_loads_nothing_that_records(project_directory: Path, run_python: RunPython) -> None:
    write_experiment(project_directory / "repo")
    slow, own = modules_loaded_by(run_python, LS.replace("'ls'", f"'show', '{EXPERIMENT['id'][:7]}'"))
    assert slow == set()
    assert {"collection", "experiment"} <= own
    recording = {name for name in own if name.startswith("recording.")} | own & {"beginning", "inert"}
    assert recording <= {
        "recording.machine",
        "recording.ranks",
        "recording.secret_names",
        "recording.secrets",
        "recording.switches",
    }


@pytest.mark.parametrize("cls", [keepsake.Experiment, keepsake.Checkpoint])
def test_dataclasses_of_0_4_2_are_dataclasses_when_somebody_asks(cls: Any) -> None:
    assert dataclasses.is_dataclass(cls)
    assert [field.name for field in dataclasses.fields(cls)][:2] == ["id", "created"]
    assert vars(cls)["__match_args__"][:2] == ("id", "created")


def test_every_public_name_is_there() -> None:
    assert set(keepsake.__all__) <= set(dir(keepsake))
    for name in keepsake.__all__:
        assert getattr(keepsake, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'experimnts'"):
        _ = keepsake.experimnts  # type: ignore[attr-defined]


EXPERIMENT: dict[str, Any] = {
    "id": "c90d1f4" + 57 * "0",
    "created": "2022-03-14T09:41:07.123456789Z",
    "params": {"learning_rate": 0.1, "layers": [3, 4]},
    "host": "",
    "user": "kim",
    "config": {"repository": "file://repo", "storage": ""},
    "command": "train.py",
    "path": "",
    "python_version": "3.11.7",
    "python_packages": {"numpy": "2.0.0"},
    "checkpoints": [
        {
            "id": "9f02c7d" + 57 * "0",
            "created": "2022-03-14T09:47:07Z",
            "metrics": {"loss": 0.5, "grid": [[1, 2], [3, 4]]},
            "step": 1,
            "path": "",
            "primary_metric": {"name": "loss", "goal": "minimize"},
        }
    ],
    "keepsake_version": "1.0.0",
}


def write_experiment(repository: Path) -> None:
    path = repository / "metadata" / "experiments" / f"{EXPERIMENT['id']}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(EXPERIMENT))
    (repository / "repository.json").write_text('{"version":1}')
