"""What Windlass costs, beside what a hand-driven floor on the same store costs in the same run: ``python -m bench``."""
