"""A standalone cluster of Spark on loopback: a master and workers of one core each, as processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyspark

LIMIT_S: Final = 120
CLASS: Final = Path(pyspark.__file__).parent / "bin" / "spark-class"
DEPLOY: Final = "org.apache.spark.deploy"
_WORKER: Final = ("--cores", "1", "--memory", "2g", "--webui-port", "0")


class Cluster:
    """The processes, and how to reach them."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, {**ENVIRONMENT, **environment}
        self._port, self._page = free_port(), free_port()
        self.master = f"spark://127.0.0.1:{self._port}"
        self._processes = [
            self._start("master", "master.Master", "--port", str(self._port), "--webui-port", str(self._page)),
        ]
        self.workers: list[subprocess.Popen[bytes]] = []
        self._until(lambda state: state is not None)

    def add_worker(self) -> None:
        """Starts a worker of one core, and waits until the master knows it."""
        number = len(self._processes)
        before = len(self.alive())
        worker = self._start(f"worker-{number}", "worker.Worker", *_WORKER, self.master)
        self._processes.append(worker)
        self.workers.append(worker)
        self._until(lambda state: len(state["aliveworkers"]) > before)

    def kill_worker(self) -> None:
        """Ends a worker and its executors, as a lost machine would: without a word."""
        worker = self.workers.pop()
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def alive(self) -> list[str]:
        """The workers that the master takes for alive."""
        state = self._state()
        return [worker["id"] for worker in state["workers"] if worker["state"] == "ALIVE"] if state else []

    def close(self) -> None:
        """Ends all of it."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self, name: str, class_: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(CLASS), f"{DEPLOY}.{class_}", "--host", "127.0.0.1", *arguments]
        with (self._folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment, "SPARK_WORKER_DIR": str(self._folder / name)},
                start_new_session=True,
            )

    def _state(self) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._page}/json/", timeout=10) as answer:
                state: dict[str, Any] = json.load(answer)
        except (OSError, urllib.error.URLError):
            return None
        state["aliveworkers"] = [worker for worker in state["workers"] if worker["state"] == "ALIVE"]
        return state

    def _until(self, holds: Any) -> None:
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            state = self._state()
            if state is not None and holds(state):
                return
            time.sleep(0.1)
        raise TimeoutError("".join(log.read_text(errors="replace") for log in self._folder.glob("*.log"))[-4000:])


ENVIRONMENT: Final = {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
BRIEF: Final = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
"""For processes of Java that live a minute: they would spend most of it on making their code faster."""


def free_port() -> int:
    """A port of loopback that is free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def a_cluster(folder: Path, workers: int, environment: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A cluster, until it is left."""
    cluster = Cluster(folder, environment or {})
    try:
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.close()
