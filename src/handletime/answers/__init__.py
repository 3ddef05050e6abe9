"""What the segments amount to: the registry of metrics, and sums over segments (rules.md 4)."""
