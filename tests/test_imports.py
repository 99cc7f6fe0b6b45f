"""Imports go one way, every heavy library has one home, and starting is light."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Lower may be imported by higher, never the reverse, and one of a level never by another of it.
LEVELS = [
    {"errors"},
    {"config", "pages", "pairs"},
    {"storage"},
    {"hub"},
    {"datasets", "splitting", "encoder", "terms"},
    {"features", "heads", "evaluation"},
    {"report", "predictor", "labelling"},
    {"testing"},
]
LEVEL = {name: i for i, names in enumerate(LEVELS) for name in names}

HOMES = {
    "torch": {"pipeline.encoder"},
    "transformers": {
        "pipeline.encoder",
        "pipeline.predictor",
    },  # the predictor shows its tokenizer
    "tokenizers": {"pipeline.encoder", "pipeline.predictor"},
    "safetensors": {"pipeline.encoder", "pipeline.predictor"},
    "sklearn": {
        "pipeline.terms",
        "pipeline.heads",
        "pipeline.evaluation",
        "pipeline.predictor",
    },
    "onnx": {"pipeline.encoder"},
    "onnxruntime": {"pipeline.encoder"},
    "openvino": {"pipeline.encoder"},
    "cleanlab": {"pipeline.evaluation"},
    "joblib": {"pipeline.predictor", "pipeline.encoder"},
    "luigi": {"tasks"},
    "rich": {"tasks"},
    "datasets": {"pipeline.datasets"},
    "jinja2": {"pipeline.pages", "pipeline.predictor", "pipeline.report"},
    "matplotlib": {"pipeline.pages", "pipeline.predictor", "pipeline.report"},
    "huggingface_hub": {"pipeline.hub"},
}


def modules():
    for package in ("pipeline", "tasks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield (
                ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
                    ".__init__"
                ),
                path,
            )


def imported(path):
    """Yield every absolutely imported module of a file, those inside functions and type checks included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module
            if node.module in {"pipeline", "tasks"}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


MODULES = dict(modules())


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_go_one_way(name):
    own = name.split(".")
    if own[0] == "tasks" or name == "pipeline":
        return  # tasks may use all of pipeline; pipeline/__init__ names its public things lazily
    for target in imported(MODULES[name]):
        parts = target.split(".")
        assert parts[0] != "tasks", f"{name} imports {target}"
        if (
            parts[0] != "pipeline"
            or len(parts) == 1
            or parts[1] == own[1]
            or parts[1] not in LEVEL
        ):
            continue
        assert LEVEL[parts[1]] < LEVEL[own[1]], (
            f"{name} imports {target}, which is not below it"
        )


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_heavy_library_has_one_home(name):
    for target in imported(MODULES[name]):
        library = target.split(".")[0]
        homes = HOMES.get(library, {name})
        assert any(name == home or name.startswith(f"{home}.") for home in homes), (
            f"{name} imports {target}"
        )


def test_every_module_of_pipeline_has_a_level():
    found = {name.split(".")[1] for name in MODULES if name.startswith("pipeline.")}

    assert found == set(LEVEL)


def test_importing_pipeline_imports_nothing_heavy(python):
    done = python(
        "import sys, pipeline; print(sorted({'torch', 'sklearn', 'numpy', 'pandas', 'luigi'} & set(sys.modules)))"
    )

    assert done.stdout == "[]\n", done.stderr


def test_public_names_are_sorted_and_real():
    import pipeline

    assert pipeline.__all__ == sorted(pipeline.__all__)
    assert all(callable(getattr(pipeline, name)) for name in pipeline.__all__)
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = pipeline.nothing_of_that_name


# Who touches files without `pipeline.storage.disk`, and why; everybody else's work passes it, so that a test may let
# every single operation fail (tests/test_disk_faults.py).
DIRECT = {
    "pipeline.features.worker": "reads its own peak memory from /proc",
    "pipeline.storage.disk": "it is the place where files are touched",
    "pipeline.storage.locks": "opens the lock file, which holds nothing",
    "pipeline.storage.owners": "reads /proc",
    "pipeline.storage.publish": "copies where links cannot be made",
    "pipeline.encoder.batching": "reads /sys",
    "pipeline.pages.canvas": "gives matplotlib a folder that goes at once",
    "pipeline.predictor.file": "reads the user's file, from wherever it is",
    "pipeline.predictor.export": "reads the encoder's weights, which are not ours",
    "tasks.predict": "lets go of a standard output that takes no more",
    "tasks.explain": "draws into a folder that goes at once",
    "tasks.forget": "looks through every byte, whatever the file is",
}
WATCHED = ("storage", "features", "heads", "evaluation", "report", "predictor", "pages")
METHODS = {
    *("open", "write_text", "write_bytes", "read_bytes", "read_text", "mkdir"),
    *("rename", "unlink", "rmdir", "symlink_to", "hardlink_to", "chmod", "touch"),
}
ON_MODULES = {
    "os": {
        *("open", "replace", "rename", "remove", "unlink", "mkdir", "makedirs"),
        *("rmdir", "link", "symlink", "chmod", "truncate", "write", "fsync"),
    },
    "np": {"save", "savez", "load", "fromfile", "memmap", "savetxt", "loadtxt"},
}


def touches_files(path):
    """Yield the calls by which a file's code could read, write, name or remove a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in {"tempfile", "shutil"}:
            yield str(node.module)
        if isinstance(node, ast.Name) and node.id in {"tempfile", "shutil"}:
            yield node.id
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id == "open":
            yield "open"
        if not isinstance(called, ast.Attribute):
            continue
        owner = called.value.id if isinstance(called.value, ast.Name) else ""
        is_module_call = called.attr in ON_MODULES.get(owner, set())
        is_path_call = called.attr in METHODS and owner not in {"os", "disk"}
        # `replace` of one argument is that of a path; a string's takes two
        is_path_call |= called.attr == "replace" and len(node.args) == 1
        if is_module_call or is_path_call:
            yield f"{owner}.{called.attr}"


def is_watched(name):
    package, _, rest = name.partition(".")
    return package == "tasks" or rest.split(".")[0] in WATCHED


@pytest.mark.parametrize("name", sorted(filter(is_watched, MODULES)))
def test_all_disk_work_passes_one_module(name):
    found = set(touches_files(MODULES[name]))

    assert bool(found) == (name in DIRECT), found
