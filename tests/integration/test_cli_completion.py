"""Completion scripts: of every command and option, and understood by the shells they are for."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.test_command_line import leaves
from tests.integration.cli_session import Session

ASK_BASH = """\
source ./script
line="$1"
read -ra COMP_WORDS <<< "$line"
[[ "$line" == *" " ]] && COMP_WORDS+=("")
COMP_LINE="$line" COMP_POINT=${#line} COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_shtab_windlass
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def script(session: Session, shell: str) -> str:
    """Write the script to ``script``, and only its beginning into the transcript."""
    done = session.run("completion", shell)
    assert done.returncode == 0
    command, _, _ = session.transcript[-1].partition("\n")
    session.transcript[-1] = f"{command}\n(a script)\n[0]\n"
    (session.folder / "script").write_text(done.stdout)
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_knows_every_command_and_every_option(session: Session, shell: str) -> None:
    text = script(session, shell)
    for words, command in leaves().items():
        assert all(word in text for word in words.split())
        for argument in command.arguments:
            for name in argument.names:
                assert not name.startswith("--") or name.removeprefix("--") in text, f"{words} {name}"


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("windlass jo", ["jobs"]),
        ("windlass jobs ", ["ls", "show", "cancel", "replay", "reschedule", "purge"]),
        ("windlass jobs replay --err", ["--error-type"]),
        ("windlass jobs ls --state c", ["cancelled"]),
        ("windlass completion ", ["bash", "zsh", "fish"]),
        ("windlass workers dr", ["drain"]),
    ],
)
def test_bash_completes(session: Session, line: str, offered: list[str]) -> None:
    script(session, "bash")
    command = ["bash", "-c", ASK_BASH, "bash", line]
    done = subprocess.run(command, cwd=session.folder, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.split() == offered
    assert done.stderr == ""


def test_fish_completes(session: Session) -> None:
    if shutil.which("fish") is None:
        pytest.skip("there is no fish here")
    script(session, "fish")
    command = ["fish", "--no-config", "-c", "source ./script; complete -C 'windlass jobs '"]
    done = subprocess.run(command, cwd=session.folder, capture_output=True, text=True, check=True, timeout=20)
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == {"ls", "show", "cancel", "replay", "purge"}


def test_zsh_understands(session: Session) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("there is no zsh here")
    script(session, "zsh")
    subprocess.run(["zsh", "-f", "-n", "script"], cwd=session.folder, check=True, timeout=20)


def test_what_cannot_be(session: Session) -> None:
    script(session, "bash")
    for arguments in ((), ("tcsh",), ("bash", "zsh"), ("\x1b[31m",)):
        assert session.run("completion", *arguments).returncode == 2
    (session.folder / "shtab.py").write_text("raise ImportError\n")  # it is not installed
    assert session.run("completion", "bash").returncode == 2
    session.check("completion")
