"""The documents, held to the code: examples run, commands are understood by the real command line, links lead somewhere."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.main import get_command

from attending.cli import NOTICE, app
from attending.privacy.deidentify import NOT_FOUND
from attending.records import load_schema

_ROOT = Path(__file__).parents[1]
_FOLDERS = ("", "docs", "docs/guides", "docs/decisions", "benchmarks", "recipes")
FOLLOWED = _ROOT / "docs/guides/your-own-predictions.md"
"""Its commands are run too, where they stand."""
FIRST_STUDY = _ROOT / "docs/guides/first-study.md"
DOCUMENTS = sorted(path for folder in _FOLDERS for path in (_ROOT / folder).glob("*.md"))
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HOSTS = re.compile(r"https?://[^\s)>\"'`]+")


def named(path: Path) -> str:
    return str(path.relative_to(_ROOT))


def blocks(text: str, *languages: str) -> list[str]:
    """The fenced blocks in one of these languages."""
    return [body for language, body in _FENCE.findall(text) if language in languages]


def commands(text: str) -> list[str]:
    """Every `attending …` command of shell blocks, continued lines joined, comments and pipes left off."""
    found = []
    for body in blocks(text, "sh", "bash", "console"):
        for line in re.sub(r"\\\n\s*", " ", body).splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            for i, word in enumerate(words):
                if word == "attending" and (i == 0 or words[i - 1] in ("&&", ";", "time")):
                    stop = next((j for j in range(i, len(words)) if words[j] in ("&&", "|", ";", ">")), len(words))
                    found.append(shlex.join(words[i + 1 : stop]))
    return found


def parse(command: str) -> str:
    """Name of the command that the real command line reads here, without calling it. Raises where it is not understood."""
    group = get_command(app)
    with group.make_context("attending", shlex.split(command)) as context:
        name, chosen, rest = group.resolve_command(context, [*context._protected_args, *context.args])  # type: ignore[attr-defined]
        with chosen.make_context(name, rest, parent=context):
            return str(name)


def anchors(text: str) -> set[str]:
    """The anchors that headings give, as the usual renderers write them."""
    prose = _FENCE.sub("", text)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def script_of(path: Path) -> str:
    """All Python of a document as one script; where the guide is to be followed, its commands are called in their place."""
    parts = ["from attending.cli import app"] if path == FOLLOWED else []
    for language, body in _FENCE.findall(path.read_text(encoding="utf-8")):
        if language == "python":
            parts.append(body)
        elif language == "sh" and path == FOLLOWED:
            parts += [f"app({shlex.split(each)!r}, standalone_mode=False)" for each in commands(f"```sh\n{body}```\n")]
    return "\n".join(parts)


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if blocks(p.read_text(encoding="utf-8"), "python")], ids=named)
def test_python_blocks_run(path: Path, tmp_path: Path) -> None:
    """As a reader would: all blocks of a document as one script, in an empty folder."""
    script = tmp_path / "script.py"
    script.write_text(script_of(path), encoding="utf-8")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", script.name],
        cwd=tmp_path, env=os.environ | threads, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{named(path)}:\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if commands(p.read_text(encoding="utf-8"))], ids=named)
def test_commands_are_understood(path: Path) -> None:
    for command in commands(path.read_text(encoding="utf-8")):
        assert parse(command) == command.split()[0], f"{named(path)}: attending {command}"


def test_a_planted_command_is_found_and_refused() -> None:
    assert commands("```sh\n$ attending run t.csv \\\n  --out o  # why\nmake x && attending plan t.csv | less\n```\n") == [
        "run t.csv --out o",
        "plan t.csv",
    ]
    with pytest.raises(Exception, match=r"[Nn]o such option"):
        parse("run t.csv --out o --nonsense")
    with pytest.raises(Exception, match="No such command"):
        parse("diagnose t.csv")


def test_the_first_study_can_be_declared_and_planned_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps 1 to 3 of the guide, on fewer patients: its schema edits are put into the file that the command writes."""
    monkeypatch.chdir(tmp_path)
    text = FIRST_STUDY.read_text(encoding="utf-8")
    told = {each.split()[0]: shlex.split(each) for each in reversed(commands(text))}
    call(["60" if word == "500" else word for word in told["clinic"]])
    call(told["schema"])
    written = tomllib.loads(Path("out/pneumonia.toml").read_text(encoding="utf-8"))
    inferred = load_schema("out/pneumonia.toml")
    for edit in blocks(text, "toml"):
        merge(written, tomllib.loads(edit))
    Path("out/pneumonia.toml").write_text(tomli_w.dumps(written), encoding="utf-8")
    declared = load_schema("out/pneumonia.toml")
    others = {"heart_failure", "pulmonary_embolism", "lung_cancer"}
    assert others <= {column.name for column in inferred.inputs}, "the guide says that the other answers look like signs"
    assert not others & {column.name for column in declared.inputs}
    assert declared.primary is not None
    assert len(declared.undeclared()) < len(inferred.undeclared())
    call(told["plan"])


def call(arguments: list[str]) -> None:
    app(arguments, standalone_mode=False)


def merge(into: dict[str, Any], edit: Mapping[str, Any]) -> None:
    for key, value in edit.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in _LINK.findall(_FENCE.sub("", text)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        target, _, anchor = link.partition("#")
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), f"{named(path)}: no {link}"
        assert there.is_relative_to(_ROOT), f"{named(path)}: {link} leads out of the repository"
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), f"{named(path)}: no heading for {link}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_documents_name_no_machine_and_no_registry(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:work|home|root|Users|tmp)/", text), f"{named(path)} names a path of one machine"
    hosts = {re.sub(r"^https?://([^/]+).*", r"\1", found) for found in _HOSTS.findall(text)}
    assert not {host for host in hosts if re.search(r"pypi|index|registry|wheels|download\.", host)}


def test_the_readme_says_what_this_is_not() -> None:
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    assert NOTICE.rstrip(".") in readme
    assert "What de-identification does not find" in readme


def test_what_is_not_found_is_told_in_the_readme_as_in_the_manifest() -> None:
    readme = " ".join((_ROOT / "README.md").read_text(encoding="utf-8").split())
    for kind in NOT_FOUND:
        told = kind.split(" (")[0]
        assert told in readme, f"the README does not say: {told}"
