"""The HTTP API: who may ask, what is asked and how it is answered."""
