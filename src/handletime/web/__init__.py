"""The page: a contact centre at work, and why each number is so."""
