"""Who may do what: keys, the secrets that they are sealed with, and nonces that were used."""
