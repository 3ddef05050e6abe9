"""The same derivation on Spark, the same tables as Delta Lake."""

from handletime.cluster.job import LAST, PACKED, Done, derive
from handletime.cluster.source import Mark

__all__ = ["LAST", "PACKED", "Done", "Mark", "derive"]
