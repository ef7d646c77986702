"""The HTTP API, a module for each noun. What it shows is what ``--json`` shows on the command line."""
