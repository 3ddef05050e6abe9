"""What holds for every test: in CI a skip is a failure; elsewhere one line names what was missing."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from typing import TypeVar

import pytest
from hypothesis import settings

from handletime.cli import warming
from handletime.compiled import is_complete
from tests.crash.nursery import Nursery, shared
from tests.seeds import a_seed

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# Compiling at a first call takes seconds, so no example has a deadline.
settings.register_profile("short", deadline=None, print_blob=True, max_examples=40)
settings.register_profile("long", deadline=None, print_blob=True, max_examples=200)


def pytest_configure(config: pytest.Config) -> None:
    """Lets children be interrupted; compiles the derivation, once, before workers and servers all do it at once.

    With the long tests, Hypothesis tries more examples where a test does not say how many.
    """
    settings.load_profile("short" if config.option.markexpr == "not long" else "long")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # Started by `&` or `nohup` in a script. What is ignored stays so in children, and some tests send Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput") and not is_complete():
        print("compiling the derivation (once, about a minute)", flush=True)
        subprocess.run([sys.executable, "-P", "-m", warming.__name__], check=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test marked `requires_command("strace")` where there is no such command."""
    for mark in item.iter_markers("requires_command"):
        for name in mark.args:
            if shutil.which(name) is None:
                pytest.skip(f"needs the command {name}, which is not installed")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """For tests, and their fixtures."""
    return _no_skip_in_ci((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """For modules that skip themselves."""
    return _no_skip_in_ci((yield))


def _no_skip_in_ci(report: Report) -> Report:
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {reason}"
    return report


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of a random test."""
    return a_seed(request.node.nodeid)


@pytest.fixture(scope="session", autouse=True)
def _nursery_ends() -> Iterator[None]:
    yield
    if shared.cache_info().currsize:
        shared().close()


@pytest.fixture(scope="session")
def nursery() -> Nursery:
    """Forks the real processes of a worker's tests."""
    return shared()
