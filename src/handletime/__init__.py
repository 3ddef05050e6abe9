"""handletime: the truth about messaging work, from events that anybody can check."""

__version__ = "0.1.0"
