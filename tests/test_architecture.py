"""The shape of the code base: who may import whom, how long things may be, what is never written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("mosaic", "workers", "cluster")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MAX_FUNCTION_LINES = 80
MAX_FILE_LINES = 500

BASE = {"mosaic.errors", "mosaic.types", "mosaic.retries", "mosaic.places"}
PARAMETERS = {
    *("mosaic.values", "mosaic.configfile", "mosaic.settings", "mosaic.parameters", "mosaic.options"),
    *("mosaic.provenance", "mosaic.runlog", "mosaic.summary"),
}
SCIENCE = {"mosaic.kernels", "mosaic.geometry", "mosaic.exposure", "mosaic.steps"}
OUTPUT = {"mosaic.headers", "mosaic.products", "mosaic.solutions"}
MAY_IMPORT: dict[str, set[str]] = {
    "mosaic.errors": set(),
    "mosaic.types": set(),
    "mosaic.retries": set(),
    "mosaic.places": {"mosaic.errors", "mosaic.retries"},
    "mosaic.values": BASE,
    "mosaic.configfile": BASE,
    "mosaic.settings": BASE | {"mosaic.values"},
    "mosaic.parameters": BASE | {"mosaic.values", "mosaic.configfile", "mosaic.settings"},
    "mosaic.options": BASE | {"mosaic.values", "mosaic.parameters"},
    "mosaic.provenance": BASE | {"mosaic.settings"},
    "mosaic.runlog": BASE,
    "mosaic.summary": BASE | {"mosaic.values"},
    "mosaic.kernels": BASE,
    "mosaic.geometry": BASE | {"mosaic.kernels", "mosaic.settings"},
    "mosaic.exposure": BASE | PARAMETERS | {"mosaic.geometry", "mosaic.kernels"},
    "mosaic.steps": BASE | PARAMETERS | {"mosaic.kernels", "mosaic.geometry", "mosaic.exposure"},
    "mosaic.graph": BASE | PARAMETERS | SCIENCE,
    "mosaic.headers": BASE
    | PARAMETERS
    | {"mosaic.geometry", "mosaic.exposure", "mosaic.products.naming", "mosaic.products.partial"},
    "mosaic.solutions": BASE
    | {"mosaic.geometry", "mosaic.exposure", "mosaic.products.checksum", "mosaic.products.partial"},
    "mosaic.products": BASE | PARAMETERS | SCIENCE | {"mosaic.graph", "mosaic.headers"},
    "mosaic.alignment": BASE | PARAMETERS | SCIENCE | OUTPUT,
    "mosaic.quality": BASE | PARAMETERS | SCIENCE | OUTPUT | {"mosaic.graph"},
    "mosaic.simulate": BASE | {"mosaic.geometry", "mosaic.exposure", "mosaic.kernels"},
    "mosaic.tools": BASE
    | {"mosaic.geometry", "mosaic.exposure", "mosaic.products.partial", "mosaic.headers"},
    "mosaic.inputs": BASE | PARAMETERS | OUTPUT | {"mosaic.exposure"},
    "mosaic.outcome": BASE | {"mosaic.graph", "mosaic.products"},
    "mosaic.finish": BASE | OUTPUT | {"mosaic.graph", "mosaic.outcome", "mosaic.quality"},
    "mosaic.pipeline": BASE
    | PARAMETERS
    | SCIENCE
    | OUTPUT
    | {"mosaic.graph", "mosaic.inputs", "mosaic.outcome", "mosaic.finish", "mosaic.alignment"}
    | {"cluster", "workers"},
    "mosaic.explore": BASE
    | PARAMETERS
    | SCIENCE
    | {"mosaic.graph", "mosaic.inputs", "mosaic.pipeline", "mosaic.quality", "mosaic.alignment"},
    "mosaic.compat": BASE
    | PARAMETERS
    | SCIENCE
    | OUTPUT
    | {"mosaic.graph", "mosaic.pipeline", "mosaic.tools", "mosaic.alignment", "mosaic.quality"},
    "workers": {"mosaic"},
    "cluster": {"mosaic", "workers"},
}
"""Part -> the parts it may import, besides itself. `mosaic.cli` and `mosaic/__init__.py` see everything."""
COMPOSITION_ROOTS = {"mosaic", "mosaic.cli"}
THIRD_PARTY_ONLY_IN: dict[str, set[str]] = {
    "numba": {"mosaic.kernels"},
    "dask_jobqueue": {"cluster"},
    "dask_kubernetes": {"cluster"},
    "dask": {"mosaic.graph", "mosaic.pipeline", "workers", "cluster"},
    "distributed": {"mosaic.graph", "mosaic.pipeline", "workers", "cluster"},
    "typer": {"mosaic.cli"},
    "rich": {"mosaic.cli"},
    "pydantic": {
        *("mosaic.values", "mosaic.settings", "mosaic.parameters", "mosaic.options", "mosaic.alignment"),
        *("cluster.spec", "cluster.jobs.model", "cluster.jobs.schema"),
    },
    "fastapi": {"cluster.jobs.api", "cluster.jobs.webpage"},
    "starlette": {"cluster.jobs.api", "cluster.jobs.webpage"},
    "uvicorn": {"cluster.jobs.server"},
    "prometheus_client": {"cluster.jobs.metrics"},
    "sqlite3": {"cluster.jobs.store", "cluster.jobs.tokens", "cluster.jobs.runner"},
    "PIL": {"cluster.jobs.growing", "mosaic.quality"},
    "scipy": {"mosaic.alignment"},
    "matplotlib": {"mosaic.quality", "mosaic.alignment"},
    "stwcs": {"mosaic.headers"},
    "configobj": {"mosaic.configfile"},
}
NEVER_IMPORTED = {"drizzlepac", "drizzle", "photutils", "stsci", "fitsblender"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _part_of(module: str) -> str:
    """Part of the layout a module belongs to: ``mosaic.kernels``, ``workers``, …"""
    head, *rest = module.split(".")
    return f"mosaic.{rest[0]}" if head == "mosaic" and rest else head


def _part_of_file(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return _part_of(".".join(part for part in parts if part != "__init__"))


def _lies_in(path: Path, modules: set[str]) -> bool:
    """Whether a file is one of some modules, or lies within one."""
    name = ".".join(part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__")
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module a file imports, those inside functions included."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)}:{node.lineno}: imports are absolute here"
            module = node.module or ""
            yield module, node.lineno
            if module == "mosaic":
                yield from ((f"mosaic.{alias.name}", node.lineno) for alias in node.names)


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(_tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def _public_definitions(
    node: ast.Module | ast.ClassDef,
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Public functions, classes and methods, without those nested in functions."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if child.name.startswith("_"):
                continue
            yield child
            if isinstance(child, ast.ClassDef):
                yield from _public_definitions(child)


def _fail_with(findings: list[str]) -> None:
    assert not findings, "\n" + "\n".join(findings)


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 20


def test_every_part_imports_only_what_lies_below_it() -> None:
    findings = []
    for path in SOURCES:
        part = _part_of_file(path)
        if part in COMPOSITION_ROOTS:
            continue
        for module, line in _imports(path):
            target = _part_of(module)
            is_ours = target.split(".")[0] in PACKAGES and target != "mosaic"
            allowed = MAY_IMPORT[part] | {part}
            if is_ours and not {target, module, target.split(".")[0]} & allowed:
                findings.append(f"{_name(path)}:{line}: {part} may not import {module}")
    _fail_with(findings)


@pytest.mark.parametrize("library", sorted(THIRD_PARTY_ONLY_IN))
def test_library_is_imported_only_where_it_belongs(library: str) -> None:
    _fail_with(
        [
            f"{_name(path)}:{line}: {library} is imported outside {sorted(THIRD_PARTY_ONLY_IN[library])}"
            for path in SOURCES
            if not _lies_in(path, THIRD_PARTY_ONLY_IN[library])
            for module, line in _imports(path)
            if module.split(".")[0] == library
        ]
    )


def test_only_the_command_line_knows_the_job_service() -> None:
    _fail_with(
        [
            f"{_name(path)}:{line}: imports {module}"
            for path in SOURCES
            if not _lies_in(path, {"mosaic.cli", "cluster.jobs"})
            for module, line in _imports(path)
            if f"{module}.".startswith("cluster.jobs.")
        ]
    )


def test_oracles_are_never_imported_by_the_code_they_judge() -> None:
    _fail_with(
        [
            f"{_name(path)}:{line}: imports {module}"
            for path in SOURCES
            for module, line in _imports(path)
            if module.split(".")[0] in NEVER_IMPORTED
        ]
    )


def test_functions_are_short() -> None:
    findings = []
    for path in SOURCES:
        for function in _functions(path):
            docstring = ast.get_docstring(function, clean=False)
            n_lines = (function.end_lineno or function.lineno) - function.lineno + 1
            n_lines -= len(docstring.splitlines()) if docstring else 0
            if n_lines > MAX_FUNCTION_LINES:
                findings.append(f"{_name(path)}:{function.lineno}: {function.name} has {n_lines} lines")
    _fail_with(findings)


def test_files_are_short() -> None:
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    _fail_with([f"{_name(path)}: {n} lines" for path, n in sizes.items() if n > MAX_FILE_LINES])


def test_only_the_command_line_prints() -> None:
    _fail_with(
        [
            f"{_name(path)}:{node.lineno}: print"
            for path in SOURCES
            if _part_of_file(path) != "mosaic.cli"
            for node in ast.walk(_tree(path))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        ]
    )


def test_no_handler_catches_everything() -> None:
    findings = []
    for path in SOURCES:
        for node in ast.walk(_tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else set()
            if node.type is None or caught & {"Exception", "BaseException"}:
                findings.append(f"{_name(path)}:{node.lineno}: catches everything")
    _fail_with(findings)


def test_no_default_is_mutable() -> None:
    findings = []
    for path in SOURCES:
        for function in _functions(path):
            defaults = [*function.args.defaults, *filter(None, function.args.kw_defaults)]
            if any(isinstance(d, ast.List | ast.Dict | ast.Set) for d in defaults):
                findings.append(f"{_name(path)}:{function.lineno}: {function.name}")
    _fail_with(findings)


def test_every_module_says_what_it_is() -> None:
    _fail_with([_name(path) for path in SOURCES if not ast.get_docstring(_tree(path))])


def test_everything_public_has_a_docstring() -> None:
    _fail_with(
        [
            f"{_name(path)}:{node.lineno}: {node.name}"
            for path in SOURCES
            for node in _public_definitions(_tree(path))
            if not ast.get_docstring(node)
        ]
    )


def test_nothing_is_left_unfinished() -> None:
    mark = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK")) + r")\b")
    findings = []
    for path in SOURCES:
        lines = path.read_text(encoding="utf-8").splitlines()
        findings += [
            f"{_name(path)}:{number}: {line.strip()}"
            for number, line in enumerate(lines, 1)
            if mark.search(line)
        ]
    _fail_with(findings)
