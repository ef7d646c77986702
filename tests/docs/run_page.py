"""Carries out the steps of one page, in order, in the current folder: ``python -m tests.docs.run_page PAGE``.

Python blocks share one namespace and one event loop, as in a notebook: they may await at their top level.
"""

import ast
import asyncio
import inspect
import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

from tests.docs.pages import Step, read_steps

_STOP_WITHIN = 20
"""Seconds that a command in the background has to end after SIGTERM."""


class Page:
    """What the steps of one page share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._module = types.ModuleType("example")
        sys.modules["example"] = self._module
        sys.path.insert(0, str(Path.cwd()))
        self._background: list[subprocess.Popen[bytes]] = []

    def run(self) -> None:
        """Carry out every step."""
        try:
            with asyncio.Runner() as runner:
                for step in read_steps(self.path.read_text()):
                    sys.stdout.write(f"--- {self.path.name}:{step.line} {step.language} {step.word}\n")
                    sys.stdout.flush()
                    self._carry_out(step, runner)
        finally:
            self._stop_background()

    def _carry_out(self, step: Step, runner: asyncio.Runner) -> None:
        if step.word in {"from", "skip"}:
            return
        if step.word == "file":
            Path(step.what).parent.mkdir(parents=True, exist_ok=True)
            Path(step.what).write_text(step.text)
        elif step.language == "python":
            self._run_python(step, runner)
        else:
            self._run_console(step)

    def _run_python(self, step: Step, runner: asyncio.Runner) -> None:
        # Blank lines in front, so that a traceback names the line of the page.
        source = "\n" * (step.line - 1) + step.text
        code = compile(source, str(self.path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(types.FunctionType(code, vars(self._module))())
        else:
            exec(code, vars(self._module))

    def _run_console(self, step: Step) -> None:
        for command in step.commands:
            if exported := re.fullmatch(r"export (\w+)=(\S+)", command):
                os.environ[exported[1]] = exported[2]
                continue
            if step.word == "background":
                self._background.append(subprocess.Popen(["bash", "-c", f"exec {command}"]))
                continue
            ended = subprocess.run(["bash", "-c", command], check=False)
            if (ended.returncode != 0) is not (step.word == "fails"):
                raise SystemExit(f"{self.path.name}:{step.line}: `{command}` ended with {ended.returncode}")

    def _stop_background(self) -> None:
        for process in self._background:
            process.send_signal(signal.SIGTERM)
        for process in self._background:
            try:
                process.wait(_STOP_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


if __name__ == "__main__":
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    Page(Path(sys.argv[1])).run()
