"""A cluster, and a session on it, for all tests of this folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.lake.spark.standalone import BRIEF, ENVIRONMENT, Cluster, a_cluster

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A master and two workers of one core each."""
    with a_cluster(tmp_path_factory.mktemp("cluster"), workers=2, environment=BRIEF) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def spark(cluster: Cluster) -> Iterator[SparkSession]:
    """A session on the cluster."""
    from pyspark.sql import SparkSession

    os.environ.update(ENVIRONMENT | BRIEF)
    settings: dict[str, bool | float | int | str | None] = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.executor.memory": "512m",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "FATAL",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        session = SparkSession.builder.master(cluster.master).config(map=settings).getOrCreate()
    yield session
    session.stop()
