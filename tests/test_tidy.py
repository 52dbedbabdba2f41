"""The sizes and names that the house style asks for."""

import ast
import statistics
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
FUNCTION_LINES_MEDIAN_MAX = 8
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
FILE_LINES_USUALLY_MAX = 400
# "Rarely": one file in twenty, or a single one while there are few.
LONG_FILE_SHARE_MAX = 0.05
NAMES_THAT_SAY_NOTHING = {"utils", "util", "common", "helpers", "base", "manager", "service"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def packages() -> list[Path]:
    configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    return [REPOSITORY / name for name in configuration["tool"]["importlinter"]["root_packages"]]


def modules() -> list[Path]:
    return sorted(path for package in packages() for path in package.rglob("*.py"))


def functions() -> Iterator[tuple[str, int]]:
    """Each function's place and length."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, Function):
                yield f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name}", length(node)


def length(function: Function) -> int:
    """Lines from `def` to the end; a docstring is not code."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None and len(function.body) > 1:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def line_count(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_the_median_function_is_short() -> None:
    assert statistics.median(lines for _, lines in functions()) <= FUNCTION_LINES_MEDIAN_MAX


def test_no_function_is_long() -> None:
    assert [(name, lines) for name, lines in functions() if lines > FUNCTION_LINES_MAX] == []


def test_no_file_is_long() -> None:
    assert [str(path) for path in modules() if line_count(path) > FILE_LINES_MAX] == []


def test_files_over_four_hundred_lines_are_rare() -> None:
    long = [str(path) for path in modules() if line_count(path) > FILE_LINES_USUALLY_MAX]
    assert len(long) <= max(1, LONG_FILE_SHARE_MAX * len(modules())), long


def test_every_module_is_named_for_what_it_knows() -> None:
    assert [str(path) for path in modules() if NAMES_THAT_SAY_NOTHING & names(path)] == []


def names(path: Path) -> set[str]:
    return {part.removesuffix(".py") for part in path.relative_to(REPOSITORY).parts}


@pytest.mark.parametrize("path", [path.name for path in packages()])
def test_every_package_says_what_it_is(path: str) -> None:
    module = ast.parse((REPOSITORY / path / "__init__.py").read_text())
    assert ast.get_docstring(module)
