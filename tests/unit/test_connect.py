"""Store URLs: which store they mean, what is said about those that mean none, and that passwords never show."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.connect import check_url, connect, redact
from windlass.core.errors import InvalidURL
from windlass.core.model import Settings


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("windlass.db", "no scheme; for a SQLite file write sqlite:///windlass.db"),
        ("", "no scheme"),
        ("sqlit:///x.db", "unknown scheme 'sqlit'; did you mean sqlite://?"),
        ("mongodb://host", "unknown scheme 'mongodb'; known are memory://"),
        ("sqlite://x.db", "three slashes for a relative path, four for an absolute one"),
        ("sqlite://host/x.db", "three slashes"),
        ("sqlite:///", "names no file"),
        ("sqlite:///dir/", "names no file"),
        ("sqlite:///:memory:", "use memory://"),
        ("sqlite:///x.db?mode=ro", "takes no options"),
        ("sqlite:///x%00.db", "names no file"),
        ("memory://two words", "the name may have"),
        ("amqp://localhost", "amqp:// is not in this version"),
        ("postgresql://host/db?schema=My-Own", "schema='My-Own': expected a-z, 0-9 and _"),
        ("postgresql://host/db?pool=many", "pool='many': expected the number of connections"),
        ("postgresql://host/db?pooler=session", "pooler='session': expected transaction"),
        ("postgresql://host/db?sslrootcert=/nowhere", "sslrootcert='/nowhere'"),
        ("postgresql://u:secret@[::1/db?schema=1", "store URL 'postgresql://u:***@[::1/db?schema=1'"),
        (None, "expected a str, got NoneType"),
        (42, "expected a str, got int"),
    ],
)
def test_a_url_that_means_no_store_says_what_would(url: Any, said: str) -> None:
    for door in (check_url, lambda url: connect(url, Settings())):
        with pytest.raises(InvalidURL) as caught:
            door(url)
        assert said in str(caught.value)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///x.db", "x.db"),
        ("sqlite:////srv/x.db", "/srv/x.db"),
        ("SQLite:////srv/x.db", "/srv/x.db"),
        ("sqlite:////srv/a%20b%3F.db", "/srv/a b?.db"),
        ("sqlite:////srv/a b.db", "/srv/a b.db"),
    ],
)
def test_sqlite_paths(url: str, path: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = path if path.startswith("/") else f"{tmp_path}/{path}"
    assert connect(url, Settings()).url == f"sqlite:///{wanted}"


def test_memory_by_name() -> None:
    for url in ("memory://", "memory://tests"):
        assert connect(url, Settings()).url.startswith("memory://")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:se/cr@et@host/0", "redis://:***@host/0"),
        ("postgresql://u:p%40ss@h/db?sslpassword=secret&x=1", "postgresql://u:***@h/db?sslpassword=***&x=1"),
        ("amqp://h/?token=secret#f", "amqp://h/?token=***#f"),
        ("redis://host/0", "redis://host/0"),
        ("sqlite:////srv/x.db", "sqlite:////srv/x.db"),
    ],
)
def test_passwords_do_not_show(url: str, shown: str) -> None:
    assert redact(url) == shown


@given(st.text("se:/@?#&=cret.", max_size=12), st.sampled_from(["amqp", "rediss", "nonsense"]))
@settings(deadline=None)  # the first call may import a driver
def test_no_password_gets_into_a_message(noise: str, scheme: str) -> None:
    url = f"{scheme}://user:{noise}hunter2{noise}@host/0"
    try:
        said = repr(connect(url, Settings()))
    except InvalidURL as error:
        said = str(error)
    assert "hunter2" not in said


@given(st.text("se:/@?#&=cret.", max_size=12))
@settings(deadline=None)  # the first call may import a driver
def test_no_password_gets_into_what_a_database_is_called(noise: str) -> None:
    try:
        store = connect(f"postgresql://user:{noise}hunter2{noise}@host/db?listen=postgresql://u:hunter2@h/", Settings())
    except InvalidURL as error:
        said = str(error)
    else:
        said = f"{store.url} {store!r}"
    assert "hunter2" not in said


def test_a_missing_driver_says_what_to_install() -> None:
    code = """
import sys
sys.modules["asyncpg"] = None
from windlass.connect import check_url, connect
from windlass.core.errors import MissingExtra
from windlass.core.model import Settings
check_url("postgresql://host/db")
try:
    connect("postgresql://u:secret@host/db", Settings())
except MissingExtra as error:
    assert str(error) == "'postgresql://u:***@host/db' needs asyncpg: pip install windlass[postgres]", error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_checking_a_url_imports_no_adapter() -> None:
    code = """
import sys
from windlass.connect import check_url
check_url("sqlite:///x.db"); check_url("memory://"); check_url("redis://host")
assert not [name for name in sys.modules if name.startswith("windlass.store.")], sorted(sys.modules)
assert not {"sqlite3", "redis", "hiredis"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
