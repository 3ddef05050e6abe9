"""Looks after a store: check, rebuild, back up, prune, forget, export; through a running server, or without one."""
