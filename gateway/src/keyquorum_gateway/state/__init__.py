"""The gateway's durable state in one SQLite database: one writer with group commit, reads on the event loop."""
