"""The tests pass however they are started: also where Ctrl-C is ignored, as by `&` or `nohup` in a script."""

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HANDLER = [sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGINT))"]


def test_a_child_can_be_interrupted() -> None:
    said = subprocess.run(HANDLER, capture_output=True, check=True, text=True).stdout
    assert "default_int_handler" in said


def test_a_child_can_be_interrupted_where_whoever_started_the_tests_cannot() -> None:
    this = f"{Path(__file__).relative_to(ROOT)}::{test_a_child_can_be_interrupted.__name__}"
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "1", this]
    script = ["sh", "-c", 'trap "" INT; "$@" & wait $!', "sh", *tests]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    assert signal.getsignal(signal.SIGINT) != signal.SIG_IGN
