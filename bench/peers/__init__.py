"""Other systems, for orientation: the same no-op jobs, each system with its own ordinary settings, in an environment of
their own. Not part of ``python -m bench``."""
