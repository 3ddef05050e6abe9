"""The upkeep of a store: beside a running server, through it, and without one."""
