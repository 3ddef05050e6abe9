"""Targets and opening hours: what an account has promised, and whether a wait kept to it (rules.md 5)."""
