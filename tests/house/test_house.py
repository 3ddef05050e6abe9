"""The rules of the house that no linter knows."""

import ast
import re
import subprocess
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
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

# Which room may know which (ARCHITECTURE.md). Those of the first row are known to all.
GROUND = {"errors", "clock", "deadline", "settings", "compiled", "crashpoints"}
GROUND |= {"addresses", "closing", "files", "processors", "scope", "sqlite"}
MAY_IMPORT: dict[str, set[str]] = {
    **{room: set() for room in GROUND},
    "events": set(),
    "sources": {"events"},
    "simulate": {"events"},
    "tracker": set(),
    "keys": {"events"},
    "segments": {"events"},
    "targets": {"events"},
    "answers": {"events", "segments", "targets"},
    "deliveries": {"events", "sources", "store", "keys"},
    "store": {"events", "segments", "answers"},
    "lake": {"events", "segments", "answers", "store"},
    "upkeep": {"events", "segments", "answers", "store", "keys", "deliveries"},
    "api": {"events", "segments", "targets", "answers", "store", "keys", "deliveries"},
    "web": {"events", "segments", "targets", "answers", "store", "keys", "api"},
    "cli": {
        "events",
        "sources",
        "simulate",
        "keys",
        "segments",
        "targets",
        "answers",
        "store",
        "lake",
        "upkeep",
        "api",
        "web",
    }
    | {"deliveries", "tracker"},
    "__main__": {"cli"},
    "__init__": set(),
}

VERSION = {"handletime.__version__"}


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


def test_no_two_modules_need_each_other() -> None:
    """Circles between files, also those closed inside functions or for types only."""
    imported = {module_name(path): modules_imported(tree) for path, _, tree in modules_of_the_package()}
    needs = {
        module: {name if name in imported else name.rpartition(".")[0] for name in names}
        for module, names in imported.items()
    }
    with pytest.raises(CycleError):
        TopologicalSorter({**needs, "handletime.errors": {"handletime.cli"}}).prepare()
    TopologicalSorter(needs).prepare()  # its error names the circle


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
    return {name.split(".")[1] for name in modules_imported(tree) if name.count(".") and name not in VERSION}


def modules_imported(tree: ast.Module) -> set[str]:
    """What a module imports of this package, also inside functions: modules, and names in them."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "handletime"}


def module_name(path: Path) -> str:
    """The dotted name of a module by its path in the package."""
    return ".".join(["handletime", *path.with_suffix("").parts]).removesuffix(".__init__")


def test_every_module_has_its_tests_by_name() -> None:
    """`tests/ROOM/test_FILE….py`, or a test whose first lines say `Covers: ROOM/FILE`."""
    tests = {path: ast.get_docstring(ast.parse(path.read_text())) or "" for path in (ROOT / "tests").rglob("test_*.py")}
    covered: set[str] = set()
    for text in tests.values():
        for listed in re.findall(r"^Covers: ([^.]+)\.$", text, re.MULTILINE):
            covered |= set(re.split(r",\s+", listed))
    modules = {path.relative_to(SOURCE).with_suffix("").as_posix() for path in SOURCE.rglob("*.py")}
    assert covered <= modules
    named = {
        module
        for module in modules
        if any((ROOT / "tests" / module).parent.glob(f"test_{module.rpartition('/')[2]}*.py"))
    }
    assert {module for module in modules - covered - named if not module.endswith("__init__")} == set()
    assert covered & named == set()
