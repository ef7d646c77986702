"""Real servers for tests: private, on loopback ports of their own, with their data in temporary folders."""
