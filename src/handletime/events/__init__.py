"""What happened: events of rules.md 1, and how bytes become columns of them."""
