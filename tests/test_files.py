"""Files that have no end, or that nobody writes to, hang nothing."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from handletime.errors import InputError
from handletime.files import read_regular
from tests.crash.nursery import Nursery
from tests.seeds import mostly_long
from tests.signed_in import Site, signed_in

LIMIT_S = 60.0
SMALL = 3 << 30
"""Of address space: far more than a server takes, far less than a file without an end."""


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_only_files_that_end_are_read(tmp_path: Path, pipe: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")  # as Kubernetes mounts files
    assert read_regular(tmp_path / "link", 5) == b"12345"
    with pytest.raises(InputError, match=r"file: must have at most 4 bytes"):
        read_regular(tmp_path / "file", 4)
    for none in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match="must be a file, no folder, pipe or device"):
            read_regular(none, 1 << 20)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "nothing", 1)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="there is no such file here")
def test_what_cannot_be_read_is_named() -> None:
    with pytest.raises(OSError, match="'/proc/self/mem'"):
        read_regular(Path("/proc/self/mem"), 1 << 20)


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (SMALL, SMALL))


@pytest.mark.parametrize("setting", ["--labels", "--config", "--tls-cert", "--tls-key"])
@pytest.mark.parametrize("what", mostly_long(["pipe", "/dev/zero"], 1))
def test_a_server_does_not_begin_with_a_pipe_or_a_device(setting: str, what: str, pipe: Path, tmp_path: Path) -> None:
    place = pipe if what == "pipe" else Path(what)
    command = [sys.executable, "-m", "handletime", "serve", "--data", str(tmp_path / "store"), "--port", "0"]
    command += [setting, str(place)]
    if setting.startswith("--tls"):
        command += ["--tls-key" if setting == "--tls-cert" else "--tls-cert", str(Path(__file__))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, preexec_fn=limited)
    assert done.returncode not in (0, -9)
    assert f"{place}: must be a file, no folder, pipe or device" in done.stderr, done.stderr


@pytest.fixture
def labelled(nursery: Nursery, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "labels.csv").write_text("kind,id,label\nagent,7,Heron\n")
    with signed_in(nursery, tmp_path / "store", "UTC", "--labels", tmp_path / "labels.csv") as site:
        site.ended(["one"])
        yield site


@pytest.mark.parametrize("what", ["pipe", "/dev/zero"])
def test_names_stay_as_they_were_where_their_file_became_a_pipe(
    what: str, labelled: Site, pipe: Path, tmp_path: Path
) -> None:
    def shown() -> str:
        return labelled.client.get("/agents?tz=UTC", headers={"Accept": "text/html"}, timeout=LIMIT_S).text

    assert "Heron" in shown()
    (tmp_path / "labels.csv").unlink()
    (tmp_path / "labels.csv").symlink_to(pipe if what == "pipe" else what)
    time.sleep(1.1)  # It is looked at once a second.
    assert "Heron" in shown()
    assert "the names stay as they were" in labelled.log.read_text()
    (tmp_path / "labels.csv").unlink()
    (tmp_path / "labels.csv").write_text("kind,id,label\nagent,7,Egret\n")
    time.sleep(1.1)
    assert "Egret" in shown()
