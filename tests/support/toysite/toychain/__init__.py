"""A toy chain as a plugin: a ledger in memory, JSON for payloads, Ed25519 for signatures. Installed by the tests."""
