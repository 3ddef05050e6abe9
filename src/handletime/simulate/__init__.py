"""A contact centre that never was: seeded events of any number, for the demo, the benchmarks and the tests."""
