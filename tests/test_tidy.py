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


# --- names, reasons, and what must not be swallowed ------------------------------------------------

# A number by one of these names says of what it is, but not in which unit.
NUMBERS_WITHOUT_UNIT = {
    "age",
    "amount",
    "delay",
    "discount",
    "duration",
    "interval",
    "pause",
    "price",
    "timeout",
    "weight",
}
MAY_CATCH_ANYTHING = {
    "command_service/committer.py",  # a lane must live on
    "command_service/lone_worker.py",  # a worker must live on
    "command_service/transaction.py",  # one command's bug must not fail its neighbours
    "ops/failures.py",  # the last one who could tell a person
    "ops/service_process.py",  # a pipe that nobody empties would stop the service
    "projections/feeding.py",  # raised again, with the generation whose views it befell
    "projections/projector.py",  # the next round tries again
    "projections/sweeper.py",  # the next look tries again
    "serving/interceptor.py",  # every failure is answered, once, there
}


def numbers() -> Iterator[tuple[str, str]]:
    """Each argument and field that is a bare number: where it is, and its name."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.arg | ast.AnnAssign) and is_number(node.annotation):
                name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
                yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", name.rpartition(".")[2]


def is_number(annotation: ast.expr | None) -> bool:
    told = ast.unparse(annotation) if annotation is not None else ""
    return told.removesuffix(" | None") in {"int", "float"}


def test_a_number_says_its_unit() -> None:
    assert [found for found in numbers() if found[1].strip("_") in NUMBERS_WITHOUT_UNIT] == []


def test_every_rule_that_is_switched_off_has_its_reason_beside_it() -> None:
    lint = (REPOSITORY / "pyproject.toml").read_text().partition("\nignore = [")[2]
    rules = lint.partition("\n[tool.ruff.lint.flake8")[0].splitlines()
    assert [line for line in rules if line.startswith("    ") and "#" not in line] == []


def test_everything_is_caught_only_where_it_is_recorded_and_answered() -> None:
    found = {
        path.relative_to(REPOSITORY).as_posix()
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and catches_anything(node)
    }
    assert found <= MAY_CATCH_ANYTHING


def catches_anything(handler: ast.ExceptHandler) -> bool:
    """Whether it takes every error and does not raise it again."""
    raises_again = any(isinstance(n, ast.Raise) and n.exc is None for n in ast.walk(handler))
    caught = ast.unparse(handler.type) if handler.type is not None else "BaseException"
    return caught in {"Exception", "BaseException"} and not raises_again
