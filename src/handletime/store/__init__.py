"""Keeps events and what is derived from them, in one folder: one writer, any number of readers."""
