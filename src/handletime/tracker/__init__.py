"""The focus tracker: what runs in the agents' browsers, and how it is put together for one server."""
