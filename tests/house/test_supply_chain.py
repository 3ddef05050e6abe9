"""What guards the way of the code to its users: no secret in a file, no audit that passes without having looked,
nothing installed that was not pinned.
"""

import os
import re
import secrets
import shutil
import string
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def scan(*files: Path) -> subprocess.CompletedProcess[str]:
    """What `make secrets` runs, over some files or over all."""
    command = ["sh", "scripts/secrets.sh", str(BIN), *map(str, files)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def chosen(letters: str, count: int) -> str:
    return "".join(secrets.choice(letters) for _ in range(count))


def our_key() -> str:
    return f'TOKEN = "ht_{secrets.token_hex(6)}_{secrets.token_hex(32)}"'


def private_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*form).decode()


def aws_key() -> str:
    # An id of "AKIA" and 16 letters of base 32, and its secret.
    ours = "AKIA" + chosen(string.ascii_uppercase + "234567", 16)
    return f"aws_access_key_id = {ours}\naws_secret_access_key = {chosen(string.ascii_letters + string.digits, 40)}"


@pytest.mark.parametrize("made", [our_key, private_key, aws_key])
def test_a_secret_in_a_file_is_found_and_not_repeated(made: Callable[[], str], tmp_path: Path) -> None:
    text = made()
    (tmp_path / "settings.txt").write_text(f"# settings\n{text}\n")
    found = scan(tmp_path / "settings.txt")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "settings.txt" in found.stdout
    assert "A secret stands in a file" in found.stderr
    longest = max(text.replace('"', " ").split(), key=len)
    assert longest not in found.stdout + found.stderr


def test_keys_made_up_of_one_digit_are_none(tmp_path: Path) -> None:
    (tmp_path / "test.py").write_text(f'TOKEN = "ht_{"0" * 12}_{"c" * 64}"\nSHA = "{secrets.token_hex(32)}"\n')
    found = scan(tmp_path / "test.py")
    assert found.returncode == 0, found.stdout + found.stderr


def commands(*verbs: str) -> list[str]:
    """Lines of the Dockerfile, the Makefile, scripts and docs that have `pip` do something with this checkout."""
    folders = (ROOT / "scripts", ROOT / ".ci")
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(file for each in folders for file in each.iterdir())]
    files = [ROOT / "Dockerfile", ROOT / "Makefile", *(file for file in files if file.name != "robustness.md")]
    text = "\n".join(path.read_text() for path in files)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    pattern = rf"(?:pip|\$\(PIP\)) (?:{'|'.join(verbs)}) [^&;]*"
    return [found for line in lines for found in re.findall(pattern, line)]


def test_whatever_is_installed_is_compared_with_a_hash_or_was_built_here() -> None:
    found = commands("install", "wheel")
    assert len(found) >= 8
    for command in found:
        words = command.partition("  #")[0].split()
        if "-r" in words:
            assert "--require-hashes" in words, command
        else:
            # Nothing but this checkout, or a wheel of it; and nothing is fetched to build it.
            assert "--no-deps" in words, command
            assert words[-1] in (".", "dist/*.whl"), command
            assert "--no-build-isolation" in words or words[-1] == "dist/*.whl", command


def pinned(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def test_what_builds_the_package_is_pinned_with_all_that_it_needs() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())
    build = pinned("build.txt")
    assert asked["dependency-groups"]["build"] == asked["build-system"]["requires"]
    waiting = [Requirement(each) for each in asked["build-system"]["requires"]]
    needed = set()
    while waiting:
        requirement = waiting.pop()
        name = requirement.name.lower()
        assert requirement.specifier.contains(build[name]), name
        if name not in needed:
            needed.add(name)
            more = [Requirement(each) for each in metadata.requires(name) or []]
            waiting += [each for each in more if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert needed == build.keys()
    assert build.items() <= pinned("dev.txt").items()
    runtime = pinned("runtime.txt")
    assert {name: version for name, version in build.items() if runtime.get(name, version) != version} == {}


def test_the_wheel_is_built_of_nothing_that_is_fetched(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (command,) = (found for found in commands("wheel") if "--wheel-dir" in found)
    built = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "dist").iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    assert {"handletime/__init__.py", "handletime/web/templates/base.html"} <= set(names)


def test_an_audit_that_reaches_nobody_says_so_and_fails(tmp_path: Path) -> None:
    """With a stand-in for the auditor that ends as it does where no service answers: with 1, and nothing written."""
    fake = tmp_path / "pip-audit"
    fake.write_text("#!/bin/sh\necho 'requests.exceptions.ConnectionError: no route' >&2\nexit 1\n")
    fake.chmod(0o755)
    ended = audit(tmp_path)
    assert ended.returncode == 2
    assert "the advisory service could not be reached" in ended.stderr


def test_an_audit_that_finds_something_shows_it_and_fails(tmp_path: Path) -> None:
    fake = tmp_path / "pip-audit"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != --output ]; do shift; done\necho "numpy CVE-2026-1" >"$2"\nexit 1\n')
    fake.chmod(0o755)
    ended = audit(tmp_path)
    assert ended.returncode == 1
    assert "CVE-2026-1" in ended.stdout


def audit(folder: Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", "scripts/audit.sh", str(folder)]
    environment = {**os.environ, "TMPDIR": str(folder)}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert [path.name for path in folder.iterdir()] == ["pip-audit"]
    return ended
