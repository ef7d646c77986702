"""The least of a supervisor: ``python -m bench.floors.idle_parent FOLDER``."""

import os
import sys

child = os.posix_spawn(
    sys.executable, [sys.executable, "-m", "bench.floors.idle_worker", sys.argv[1]], os.environ, setpgroup=0
)
os.waitpid(child, 0)
