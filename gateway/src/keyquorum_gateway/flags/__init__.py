"""Chain flags: for whom a chain is open, changed while the gateway serves, and asked again before money leaves."""
