"""Real local chains, and a supervisor that runs a whole Keyquorum stack on one machine."""
