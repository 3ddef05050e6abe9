"""SQL mappings: one `select` turns what any system exports or sends into events (docs/mappings.md).

    statement  the text of a mapping: one select, and errors that repeat nothing of the data
    engine     DuckDB, locked: no files, no extensions, no settings
    files      files become the relation `input`
    looks      what is plainly wrong with a file, from its first bytes
    columns    the mapping's columns become events, or faults that name the input's row
    webhook    bodies of webhooks, many at once, in a process of their own
    worker     that process
    examples   mappings that are shipped

This file imports nothing, so the worker starts without what it does not need.
"""
