"""Who handled what: events become agent segments, skill segments and handle-time units (rules.md 2 and 3)."""
