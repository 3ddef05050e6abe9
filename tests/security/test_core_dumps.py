"""A server that crashes does not leave its memory behind."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

from tests.cli.test_serve import COMMAND, new_key


def allowed() -> None:
    """As large as the system lets them be."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def crashed(process: subprocess.Popen[bytes]) -> bool:
    """Ends a process as a crash would; whether its memory was written, to a file or to a program."""
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == -signal.SIGABRT
    return os.WCOREDUMP(status)


def test_a_crash_leaves_no_core_dump(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "cwd": here}
    with subprocess.Popen(command, preexec_fn=allowed, **streams) as another:  # type: ignore[call-overload]
        assert another.stdout.readline() == b"up\n"
        if not crashed(another):
            print("this system writes no core dumps of anybody")
    for file in here.iterdir():
        file.unlink()

    new_key(tmp_path / "store", "admin")
    command = [*map(str, COMMAND), "serve", "--data", str(tmp_path / "store"), "--port", "0"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, preexec_fn=allowed, stderr=log, stdout=subprocess.PIPE, cwd=here)
    try:
        assert server.stdout is not None
        said = server.stdout.readline().decode().split()
        assert said, (tmp_path / "log").read_text()
        limits = Path(f"/proc/{server.pid}/limits").read_text()
        assert re.search(r"^Max core file size +[01] +[01] ", limits, re.MULTILINE), limits
        assert not crashed(server)
    finally:
        if server.returncode is None:
            server.kill()
        server.communicate()
    assert list(here.iterdir()) == []


def test_commands_that_open_a_store_leave_none_either(tmp_path: Path) -> None:
    new_key(tmp_path / "store", "admin")
    code = """if True:
        import resource, sys
        from handletime.cli import cli
        cli.main(["keys", "list", "--data", sys.argv[1]], standalone_mode=False)
        print(resource.getrlimit(resource.RLIMIT_CORE))
        """
    command = [sys.executable, "-c", code, str(tmp_path / "store")]
    done = subprocess.run(command, preexec_fn=allowed, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "(1, 1)"
