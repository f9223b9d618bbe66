"""The layout of docs/architecture.md: what may import what, how large a folder may be, which names are private."""

import ast
import functools
import importlib.metadata
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ntk", "bounds", "experiments")
LARGEST_FOLDER = 12
# Modules of ntk that bounds may import beside the package itself: `networks`, and modules that do not depend on
# networks.
SHARED = {"caches", "calls", "checks", "dtypes", "jaxprs", "linalg", "networks", "trees"}


@functools.cache
def modules():
    """Every module of the packages with its tree."""
    found = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = ast.parse(file.read_text(encoding="utf-8"))
    return found


def imports(tree):
    """What a module imports of the packages: (module, name), the name None of a module as a whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.split(".")[0] in PACKAGES)


def rows_of(package):
    """The row of each module of a package in docs/architecture.md."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {package}\n(.*?)(?=^## |\Z)", page, re.M | re.S)[1]
    rows = {}
    for number, names in re.findall(r"^\| (\d+) \| (.*?) \|", section, re.M):
        rows |= dict.fromkeys(re.findall(r"`(\w+)/?`", names), int(number))
    return rows


def unit(module, name):
    """The first level below the package that an import reaches, None for the package itself."""
    parts = [*module.split("."), *([name] if name else [])]
    return parts[1] if len(parts) > 1 else None


def units_of(package):
    """The modules and folders of a package; of experiments the folders, since a script may import all of them."""
    found = {name.split(".")[1] for name in modules() if name.startswith(f"{package}.")}
    return found - {file.stem for file in (ROOT / package).glob("*.py")} if package == "experiments" else found


@pytest.mark.parametrize("package", PACKAGES)
def test_rows_import_rows_above_only(package):
    rows, found = rows_of(package), units_of(package)
    assert found == set(rows)
    for name, tree in modules().items():
        own = unit(name, None)
        if name.split(".")[0] != package or own not in rows:
            continue
        for module, imported in imports(tree):
            if module.split(".")[0] == package and (other := unit(module, imported)) in rows and other != own:
                assert rows[other] < rows[own], f"{name} imports {module}.{imported}"


def test_bounds_use_the_public_face_of_ntk():
    for name, tree in modules().items():
        if name.split(".")[0] == "bounds":
            for module, imported in imports(tree):
                if module.startswith("ntk"):
                    assert module == "ntk" or module.split(".")[1] in SHARED, f"{name} imports {module}.{imported}"


def test_nothing_is_imported_upwards_between_packages():
    order = {"ntk": 0, "bounds": 1, "experiments": 2}
    for name, tree in modules().items():
        for module, _ in imports(tree):
            assert order[module.split(".")[0]] <= order[name.split(".")[0]], f"{name} imports {module}"


def test_scripts_are_not_imported():
    scripts = {file.stem for file in (ROOT / "experiments").glob("*.py")}
    for name, tree in modules().items():
        for module, imported in imports(tree):
            if module.split(".")[0] == "experiments":
                assert unit(module, imported) not in scripts, f"{name} imports {module}.{imported}"


def test_private_names_are_not_imported():
    for name, tree in modules().items():
        for module, imported in imports(tree):
            private = [part for part in f"{module}.{imported or ''}".split(".") if re.match(r"_[a-z]", part)]
            assert not private, f"{name} imports {module}.{imported}"


def test_folders_can_be_read_at_a_glance():
    for package in PACKAGES:
        for folder in {file.parent for file in (ROOT / package).rglob("*.py")}:
            files = [file.name for file in folder.glob("*.py") if file.name != "__init__.py"]
            name = folder.relative_to(ROOT).as_posix()
            assert len(files) <= LARGEST_FOLDER, f"{name} holds {len(files)} files"


def test_no_module_shares_its_name_with_a_function_of_the_packages_above_it():
    packages = [name for name in modules() if (ROOT / name.replace(".", "/")).is_dir()]
    public = {
        name: {imported for module, imported in imports(modules()[name]) if f"{module}.{imported}" not in modules()}
        for name in packages
    }
    assert {"infinite_kernels", "dynamics"} & public["ntk"] == {"infinite_kernels"}
    for name in modules():
        for package in packages:
            if name.startswith(f"{package}."):
                assert name.rpartition(".")[2] not in public[package], f"{name} and a function of {package}"


def test_the_readings_of_a_program_know_its_language_and_not_each_other():
    rooms = {"ntk.programs.language", "ntk.programs.limit", "ntk.programs.at_width", "ntk.programs.architectures"}

    def room(module):
        return next((room for room in rooms if module == room or module.startswith(f"{room}.")), None)

    assert rooms == {room(name) for name in modules() if room(name)}
    for name, tree in modules().items():
        for module, imported in imports(tree):
            if room(name) and (other := room(module)):
                assert other in (room(name), "ntk.programs.language"), f"{name} imports {module}.{imported}"


def test_rules_import_nothing_of_the_package_that_uses_them():
    used = {name for name in modules() if name.startswith("ntk.finite_width.rules.")}
    assert used
    for name in used:
        for module, imported in imports(modules()[name]):
            if module.startswith("ntk.finite_width"):
                assert module.startswith("ntk.finite_width.rules"), f"{name} imports {module}.{imported}"


TOLERANCES = {"atol", "rtol", "rel", "abs"}
COMPARISONS = {"assert_allclose", "allclose", "approx"}


def bare_tolerances(source):
    """Lines of tolerances written as numbers, without a comment on their statement, above it or above its run.

    A comment above a run of assertions holds for all of them, and one above a loop for what is in it.
    """
    lines = source.splitlines()

    def commented(first, last):
        return any(re.search(r"(^|\s)# ", line) for line in lines[max(first - 2, 0) : last])

    def visit(block, reason):
        run = reason
        for statement in block:
            body = getattr(statement, "body", [])
            run = commented(statement.lineno, body[0].lineno - 1 if body else statement.end_lineno) or (
                run and (reason or isinstance(statement, ast.Assert | ast.Expr))
            )
            inner = run and isinstance(statement, ast.For | ast.With | ast.If)
            yield from visit([*body, *getattr(statement, "orelse", [])], inner)
            if not body and not run:
                yield from (number.lineno for number in numbers_of(statement))

    return list(visit(ast.parse(source).body, False))


def numbers_of(statement):
    """The floating-point constants in tolerances; neither guards against zero nor exponents of ½."""
    for call in ast.walk(statement):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", None) in COMPARISONS:
            for option in call.keywords:
                if option.arg in TOLERANCES:
                    yield from (
                        node
                        for node in ast.walk(option.value)
                        if isinstance(node, ast.Constant)
                        and isinstance(node.value, float)
                        and 1e-100 < node.value < 0.5
                    )


def test_tolerances_have_a_name_or_a_reason():
    """Those of rounding are rows of tests/tolerances.py; all others say where they come from."""
    bare = "def test():\n    x = 1.0\n    assert x == pytest.approx(1, rel=1e-9)\n"
    assert bare_tolerances(bare) == [3]
    assert bare_tolerances(bare.replace("    assert", "    # Why.\n    assert")) == []
    assert bare_tolerances(bare.replace("1e-9)", "1e-9)  # why")) == []
    assert bare_tolerances(bare.replace("1e-9", "ROW")) == []
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in sorted((ROOT / "tests").rglob("*.py"))
        for line in bare_tolerances(file.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_the_version_is_that_of_the_installed_package(plain):
    assert plain.__version__ == importlib.metadata.version("ntk-generalization")
