"""Who may ask: the HTTP surface."""
