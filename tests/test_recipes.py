"""Every recipe is one function of its file's name, and says how it is run, how long it takes and what to expect."""

import ast
import importlib.util
import inspect
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
RECIPES = sorted(path for path in (_ROOT / "recipes").glob("*.py") if path.name != "__init__.py")


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_imports_and_exposes_its_function(path: Path) -> None:
    """Importing it does no work: what runs stands under the main guard."""
    spec = importlib.util.spec_from_file_location(f"recipes_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    function = getattr(recipe, path.stem, None)
    assert inspect.isfunction(function), f"recipes/{path.name}: expected a function {path.stem}()"
    assert inspect.getdoc(function), f"recipes/{path.name}: {path.stem}() has no docstring"
    assert "out" in inspect.signature(function).parameters, "a recipe writes where it is told"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_what_it_costs_and_gives(path: Path) -> None:
    header = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert f"python recipes/{path.name}" in header, "the command"
    assert "Time:" in header
    assert "Expected:" in header
