"""The rules of the house that no linter knows."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "handletime"

# In parts, so that this file does not contain them.
REGISTRY_ADDRESSES = [
    "pypi" + ".org",
    "files.python" + "hosted.org",
    "registry.npm" + "js.org",
    "deb.debian" + ".org",
    "index" + "-url",
    "find" + "-links",
    "file:" + "///",
]
MACHINE_PATH = re.compile(r"(?<![\w.])/(" + r"work|root|home/[\w-]+|Users/[\w-]+" + ")/")
PINNED = re.compile(r"[\w.-]+(\[[\w,-]+\])?==[\w.!+]+( ; .+?)?( +--hash=sha256:[0-9a-f]{64})+")

# Which room may import which (ARCHITECTURE.md). Those of the first row are known to all.
GROUND = {"errors", "clock", "deadline", "durations", "settings", "compiled", "crashpoints", "regular"}
BELOW = {"events", "segments", "store", "answers", "sources", "simulate", "lake", "cluster"}
MAY_IMPORT: dict[str, set[str]] = {
    **{room: set() for room in GROUND},
    "events": set(),
    "segments": {"events"},
    "store": {"answers", "events", "segments"},
    "answers": {"events", "segments"},
    "sources": {"events"},
    "simulate": {"events"},
    "lake": {"answers", "events", "segments", "store"},
    "cluster": {"answers", "events", "segments", "lake"},
    "api": BELOW,
    "web": BELOW | {"api"},
    "admin": {"answers", "events", "segments", "store", "api"},
    "cli": BELOW | {"api", "web", "admin"},
    "__main__": {"cli"},
    "__init__": set(),
}


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, str]]:
    """Every line of the repository's text files, each with its place, `path:line`."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [
        (f"{name}:{number}", line)
        for name in names
        if name and (ROOT / name).is_file() and b"\0" not in (content := (ROOT / name).read_bytes())
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1)
    ]


@pytest.mark.requires_command("git")
def test_no_file_names_a_package_registry(lines: list[tuple[str, str]]) -> None:
    assert [place for place, line in lines if any(name in line.lower() for name in REGISTRY_ADDRESSES)] == []


@pytest.mark.requires_command("git")
def test_no_file_names_a_path_of_somebodys_machine(lines: list[tuple[str, str]]) -> None:
    assert [place for place, line in lines if MACHINE_PATH.search(line)] == []


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").iterdir()), ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_its_hashes(path: Path) -> None:
    text = path.read_text().replace("\\\n", " ")
    requirements = [line.strip() for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
    assert requirements
    assert [requirement for requirement in requirements if not PINNED.fullmatch(requirement)] == []


def test_imports_run_one_way() -> None:
    modules = list(modules_of_the_package())
    assert {room for _, room, _ in modules} <= MAY_IMPORT.keys()
    assert [
        f"{path}: {room} may not know {other}"
        for path, room, tree in modules
        for other in sorted(rooms_imported(tree) - MAY_IMPORT[room] - GROUND - {room})
    ] == []


def test_whatever_is_public_has_a_docstring() -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    assert [
        f"{path}: {getattr(node, 'name', 'the module')}"
        for path, _, tree in modules_of_the_package()
        for node in [tree, *(node for node in tree.body if isinstance(node, kinds) and node.name[0] != "_")]
        if not ast.get_docstring(node)
    ] == []


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "GLOSSARY.md", "CHANGELOG.md", "LICENSE"])
def test_the_house_papers_are_there(name: str) -> None:
    assert (ROOT / name).read_text().strip()


def test_the_readme_begins_with_the_two_commands() -> None:
    commands = re.findall(r"\bmake [a-z-]+", (ROOT / "README.md").read_text())
    assert commands[:2] == ["make demo", "make test"]


def modules_of_the_package() -> Iterator[tuple[Path, str, ast.Module]]:
    """Each module's path in the package, its room and what it says."""
    for file in sorted(SOURCE.rglob("*.py")):
        path = file.relative_to(SOURCE)
        yield path, path.parts[0].removesuffix(".py"), ast.parse(file.read_text())


def rooms_imported(tree: ast.Module) -> set[str]:
    """The rooms that a module imports, also inside functions; the linter forbids relative imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "handletime":
            names |= {f"handletime.{alias.name}" for alias in node.names if alias.name != "__version__"}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[1] for name in names if name.startswith("handletime.")}
