"""The architecture, held by tests: floors, who may make a case, and what the house does without."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

_ROOT = Path(__file__).parents[1]
_PACKAGE = _ROOT / "attending"
_FILES = sorted(_PACKAGE.rglob("*.py"))


def _calls(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            yield name, node.lineno


def _aliases_of_case(tree: ast.AST) -> set[str]:
    names = {"Case"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "attending.case":
            names |= {alias.asname for alias in node.names if alias.name == "Case" and alias.asname}
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in names:
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def makers_of_cases(source: str) -> list[int]:
    """Lines on which a source constructs a `Case`, by its name or another name given to it."""
    tree = ast.parse(source)
    names = _aliases_of_case(tree)
    return [line for name, line in _calls(tree) if name in names]


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(_ROOT)))
def test_only_privacy_makes_a_case(path: Path) -> None:
    lines = makers_of_cases(path.read_text(encoding="utf-8"))
    assert not lines or path.is_relative_to(_PACKAGE / "privacy"), f"{path.relative_to(_ROOT)} makes a Case on lines {lines}"


def test_the_sweep_finds_a_planted_maker() -> None:
    assert makers_of_cases("from attending.case import Case\nCase(id=1)\n") == [2]
    assert makers_of_cases("from attending.case import Case as C\nC(id=1)\n") == [2]
    assert makers_of_cases("from attending import case\ncase.Case(id=1)\n") == [2]
    assert makers_of_cases("from attending.case import Case\nMaker = Case\n\nMaker(id=1)\n") == [4]
    assert makers_of_cases("from attending.case import Case\ndef f(case: Case) -> Case: return case\n") == []


def test_privacy_does_make_cases() -> None:
    assert any(makers_of_cases(path.read_text(encoding="utf-8")) for path in (_PACKAGE / "privacy").glob("*.py"))


def test_imports_run_downward_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(_ROOT)
    status = lint_imports(no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


@pytest.mark.parametrize("path", _FILES, ids=lambda path: str(path.relative_to(_ROOT)))
def test_the_house_does_without(path: Path) -> None:
    """No pickle, no lazy annotations, no path of one machine, no room without a name."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    imported = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert not imported & {"pickle", "cloudpickle", "joblib", "dill", "shelve", "marshal", "__future__"}
    assert "/work/" not in source
    assert "/home/" not in source
    assert path.stem not in {"utils", "util", "common", "helpers", "helper", "misc", "base"}
    assert not source.strip() or ast.get_docstring(tree), "a file opens with what it is and what it is not"
