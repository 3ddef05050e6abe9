"""Derives on Spark, by the same code, and writes the tables as Delta Lake."""

from handletime.lake.spark.job import LAST, PACKED, Done, derive
from handletime.lake.spark.source import Mark

__all__ = ["LAST", "PACKED", "Done", "Mark", "derive"]
