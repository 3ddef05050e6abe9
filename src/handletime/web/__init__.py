"""The page in the browser: a contact centre at work, and why each number is so."""
