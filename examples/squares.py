"""The classic: squares computed in chunks by several workers, and summed. ``python examples/squares.py [COUNT]``"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from windlass import App

app = App()  # where $WINDLASS_URL says


@app.task
def square(number: int) -> int:
    return number * number


@app.task
def add(one: int, other: int) -> int:
    return one + other


def main(count: int) -> None:
    here = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "windlass", "worker", "--app", "squares:app", "--processes", "2"]
    workers = subprocess.Popen([*command, "--log-level", "error"], env=environment)
    try:
        squares = app.map(square, range(count), ordered=False)
        print(f"the squares below {count} sum to {app.reduce_sync(add, squares)}")
    finally:
        workers.terminate()
        workers.wait()
        app.close_sync()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("WINDLASS_URL", f"sqlite:///{folder}/squares.db")
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
