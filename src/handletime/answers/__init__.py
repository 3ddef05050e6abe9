"""What segments amount to: a selection goes in, figures or pages of segments come out (rules.md 4)."""
