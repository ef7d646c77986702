"""What a task is called, and that a name means one function."""

import subprocess
import sys
from pathlib import Path

import pytest

from windlass import App, InvalidName, InvalidOption, UnknownTask


def send(to: str) -> None: ...


def test_the_default_name_is_module_and_qualname() -> None:
    app = App("memory://")
    assert app.task(send).name == f"{__name__}.send"

    @app.task
    def inner() -> None: ...

    assert inner.name == f"{__name__}.{inner.__qualname__}"


MAIN = "from windlass import App\napp = App('memory://')\n@app.task\ndef hi() -> None: ...\nprint(hi.name)\n"


def test_main_resolves_to_the_modules_real_name(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tasks.py").write_text(MAIN)
    for arguments in (["shop/tasks.py"], ["-m", "shop.tasks"], ["-c", MAIN]):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout
        assert done.strip() == {"shop/tasks.py": "tasks.hi", "-m": "shop.tasks.hi", "-c": "__main__.hi"}[arguments[0]]


def test_a_name_is_taken_once() -> None:
    app = App("memory://")
    app.task(name="mail", aliases=["post"])(send)
    for name, aliases in (("mail", []), ("post", []), ("other", ["mail"]), ("other", ["post"])):
        with pytest.raises(InvalidName, match=rf"is taken by {__name__}\.send"):
            app.task(name=name, aliases=aliases)(lambda: None)


@pytest.mark.parametrize("name", ["", "two words", "a\nb", "x" * 201, "\x1b[31m", 5, "a\x00"])
def test_a_name_keeps_its_grammar(name: object) -> None:
    with pytest.raises(InvalidName):
        App("memory://").task(name=name)(send)  # type: ignore[call-overload]


def test_find_task_knows_aliases_and_the_nearest_name() -> None:
    app = App("memory://")
    task = app.task(name="mail.send", aliases=["post"])(send)
    assert app.find_task("mail.send") is app.find_task("post") is task
    with pytest.raises(UnknownTask, match=r"did you mean 'mail\.send'"):
        app.find_task("mail.sned")
    with pytest.raises(UnknownTask, match="registered are"):
        app.find_task("\x1b[31m")
    with pytest.raises(UnknownTask, match="registered are none"):
        App("memory://").find_task("x")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retry": 3}, "retry=3: expected Retry"),
        ({"retry": {"ValueError": 3}}, "a mapping such as"),
        ({"errors": ["ValueError"]}, "errors: expected exception classes"),
        ({"errors": "ValueError"}, "errors: expected exception classes"),
        ({"max_snoozes": -1}, "max_snoozes=-1"),
        ({"timeout": 0}, "timeout: 0"),
        ({"priority": 11}, "priority=11"),
        ({"on_conflict": "raise"}, "there is none"),
    ],
)
def test_impossible_options_of_a_task_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        App("memory://").task(**options)(send)  # type: ignore[call-overload]


def test_a_forgotten_keyword_is_explained() -> None:
    with pytest.raises(InvalidOption, match="options are keywords"):
        App("memory://").task("mail")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "options",
    [
        {"lease": 0.1},
        {"max_lost": 0},
        {"max_payload": 10},
        {"max_result": 2**40},
        {"result_ttl": -1},
        {"middleware": [1]},
    ],
)
def test_impossible_options_of_an_app_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidOption):
        App("memory://", **options)  # type: ignore[arg-type]


def test_a_task_looks_like_its_function() -> None:
    @App("memory://").task
    def documented(a: int) -> int:
        """Says what it does."""
        return a + 1

    assert documented.__name__ == "documented"
    assert documented.__doc__ == "Says what it does."
    assert documented(1) == 2
    assert repr(documented) == f"<Task {documented.name}>"


@pytest.mark.parametrize(
    ("option", "hint"),
    [("time_out", "did you mean timeout"), ("uniqe", "did you mean unique"), ("x", "there are aliases")],
)
def test_an_option_that_does_not_exist_is_named_with_the_nearest_that_does(option: str, hint: str) -> None:
    with pytest.raises(InvalidOption, match=f"no option '{option}'; {hint}"):
        App("memory://").task(**{option: 1})(lambda: None)
