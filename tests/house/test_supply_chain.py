"""What guards the way of the code to its users: no secret in a file, no audit that passes without having looked."""

import os
import secrets
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

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
