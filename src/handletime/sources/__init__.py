"""Records of other systems become events (rules.md 1). Each module knows one system."""
