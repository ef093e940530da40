"""What is installed: what the code imports, at the versions of constraints.txt, and a wheel that holds all of it."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import Distribution, distributions, packages_distributions
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_INSTALLED = {canonicalize_name(each.name): each for each in distributions()}
CORE = {canonicalize_name(Requirement(each).name) for each in _PROJECT["dependencies"]}
DEV = {canonicalize_name(Requirement(each).name) for each in _PROJECT["optional-dependencies"]["dev"]}
EXTRA = {canonicalize_name(Requirement(each).name) for each in _PROJECT["optional-dependencies"]["hub"]}
"""Installed by choice: imported where they are used, and their absence is an error that names the extra."""
SERVE = {canonicalize_name(Requirement(each).name) for each in _PROJECT["optional-dependencies"]["serve"]}
"""Also by choice, and part of the development tools, so that the service is tested everywhere."""
NOT_IMPORTED = frozenset({"ruff", "mypy", "pytest-xdist"})
"""Development tools that are run, not imported."""
PINS = {
    canonicalize_name(name): version
    for line in (_ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
    for name, version in [line.split("==")]
}


def imported_by(*folders: str) -> set[str]:
    """Distributions whose modules are imported anywhere under these folders, also inside functions."""
    modules = set()
    for folder in folders:
        for path in (_ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    modules.add(node.module.split(".")[0])
    homes = packages_distributions()
    own = {"attending", "tests", "recipes", "benchmarks", *(name.replace("-", "_") for name in EXTRA)}
    outside = {m for m in modules if m not in sys.stdlib_module_names and m not in own}
    assert not outside - set(homes), f"imported but not installed: {sorted(outside - set(homes))}"
    return {canonicalize_name(home) for module in outside for home in homes[module]}


def needed(roots: set[str]) -> dict[str, Distribution]:
    """Everything that pip installs for these, as far down as it goes."""
    found: dict[str, Distribution] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = _INSTALLED[name]
        for text in found[name].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    return found


def is_cuda(name: str) -> bool:
    return name.startswith(("nvidia-", "cuda-")) or name in ("triton", "pytorch-triton")


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    assert imported_by("attending") == CORE | SERVE


def test_development_dependencies_are_used() -> None:
    assert imported_by("tests", "recipes", "benchmarks") - CORE <= needed(DEV).keys()
    assert SERVE <= DEV
    assert DEV - NOT_IMPORTED - SERVE - imported_by("tests", "benchmarks") == set()


def test_every_installed_version_is_pinned_and_every_pin_is_needed() -> None:
    everything = needed(CORE | DEV)
    cuda = {name for name in everything if is_cuda(name)}
    assert everything.keys() - cuda == PINS.keys()
    for name, version in PINS.items():
        assert everything[name].version.split("+")[0] == version, f"{name}: constraints.txt says {version}"


def test_pins_satisfy_what_is_declared() -> None:
    for text in (*_PROJECT["dependencies"], *_PROJECT["optional-dependencies"]["dev"]):
        requirement = Requirement(text)
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)]), text


def test_torchvision_is_absent_and_cuda_comes_only_with_a_cuda_torch() -> None:
    assert "torchvision" not in _INSTALLED
    assert not any(is_cuda(name) or name == "torchvision" for name in PINS)
    if torch.version.cuda is None:
        assert not {name for name in _INSTALLED if is_cuda(name)}


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, attending.cli\n"
        "try:\n    attending.cli.app(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('LOADED', *sorted({'torch', 'polars', 'sklearn', 'scipy', 'numpy', 'PIL', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Research software, not a medical device" in " ".join(re.sub(r"[│\s]+", " ", done.stdout).split())
    assert done.stdout.rstrip().endswith("LOADED")


def test_importing_the_package_costs_nothing() -> None:
    program = "import sys, attending; print(*sorted({'torch', 'polars', 'sklearn', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, by the declared backend, without a network."""
    copy = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(_ROOT / name, copy / name)
    shutil.copytree(_ROOT / "attending", copy / "attending", ignore=shutil.ignore_patterns("__pycache__"))
    program = "from setuptools.build_meta import build_wheel; print('WHEEL', build_wheel('out'))"
    quiet = os.environ | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", program], cwd=copy, env=quiet, capture_output=True, text=True, check=True)
    return zipfile.ZipFile(copy / "out" / done.stdout.split("WHEEL ")[-1].strip())


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    package = _ROOT / "attending"
    files = {str(path.relative_to(_ROOT)) for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == files
    assert {"attending/py.typed", "attending/report/templates/report.html", "attending/report/templates/report.css"} <= held


def test_the_wheel_says_its_license_and_its_command(wheel: zipfile.ZipFile) -> None:
    (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    text = wheel.read(metadata).decode()
    assert "License-Expression: Apache-2.0" in text
    assert "not for decisions about patients" in text
    folder = metadata.rsplit("/", 1)[0]
    assert wheel.read(f"{folder}/licenses/LICENSE") == (_ROOT / "LICENSE").read_bytes()
    assert "attending = attending.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()
