"""A made-up contact centre: seeded events of any number, for the demo, the benchmarks and the tests."""
