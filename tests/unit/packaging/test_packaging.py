"""Wheel and sdist: built from this tree, holding what they should, working in an empty environment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PACKAGES = {
    "sampan": "core/sampan",
    "sampan_network": "plugins/network/sampan_network",
    "sampan_runtime": "plugins/runtime/sampan_runtime",
    "sampan_storage": "plugins/storage/sampan_storage",
}
LIST_DRIVERS = """
import json, msgspec
from sampan.config import Config
from sampan.plugins import Drivers
print(json.dumps(msgspec.to_builtins(Drivers(Config(), "0123abcd").found())))
"""


def run(*command: object, cwd: Path = ROOT) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist of this tree, and the wheel that was built from that sdist."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", directory)
    return directory


def in_tree() -> set[str]:
    """What belongs into a wheel: every file of the four packages that is neither ignored nor made."""
    return {
        f"{package}/{path.relative_to(ROOT / folder)}"
        for package, folder in PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_four_packages_and_nothing_else(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {name for name in names if ".dist-info/" not in name}
    assert code == in_tree()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_sdist_is_the_repository_without_what_was_made_in_it(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "config.yaml", "Makefile", "README.md", "LICENSE", "tools/setup.sh"} <= names
    assert {"core/sampan/config.py", "tests/conftest.py", "docs/architecture.md"} <= names
    assert not [name for name in names if re.search(r"(^|/)(\.venv|\.git|__pycache__|\.stamps|dist)(/|$)", name)]


def test_the_wheel_works_in_an_empty_environment_and_lists_its_drivers(built: Path, tmp_path: Path) -> None:
    [wheel] = built.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    provide_declared_dependencies(python, tmp_path / "dependencies")
    run(python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel)
    listed = json.loads(run(python, "-I", "-c", LIST_DRIVERS, cwd=tmp_path))
    assert {(driver["family"], driver["name"]) for driver in listed} >= {
        ("storage", "overlayfs"),
        ("storage", "vfs"),
        ("network", "bridge"),
        ("network", "internal"),
        ("network", "host"),
        ("network", "none"),
        ("runtime", "native"),
    }
    assert {driver["package"] for driver in listed} == {"sampan"}
    assert not [driver["reason"] for driver in listed if "cannot be loaded" in driver["reason"]]
    version = run(tmp_path / "venv" / "bin" / "sampan", "--version", cwd=tmp_path)
    assert distribution("sampan").version in version


def provide_declared_dependencies(python: Path, directory: Path) -> None:
    """Make what sampan *declares* to need, and nothing else of the present environment, importable by ``python``.

    So the test needs no package index, and still fails when something is imported that is not declared.
    """
    directory.mkdir()
    for name in closure("sampan"):
        found = distribution(name)
        tops = {Path(file).parts[0] for file in found.files or [] if Path(file).parts[0] not in ("..", "__pycache__")}
        for top in tops:
            target = Path(str(found.locate_file(top)))
            if target.exists() and not (directory / top).exists():
                (directory / top).symlink_to(target)
    site = run(python, "-c", "import site; print(site.getsitepackages()[0])").strip()
    (Path(site) / "dependencies.pth").write_text(f"{directory}\n")


def closure(root: str) -> set[str]:
    seen: set[str] = set()
    wanted = set(requirements(root))
    while wanted:
        name = wanted.pop()
        if name not in seen:
            seen.add(name)
            wanted |= set(requirements(name))
    return seen


def requirements(name: str) -> Iterator[str]:
    for line in distribution(name).requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name
