"""The derived tables in a data lake: Delta tables that Spark jobs write and any number of servers read."""
