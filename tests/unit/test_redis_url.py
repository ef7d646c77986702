"""URLs of Redis servers: what they mean, and what is said about those that mean nothing."""

import subprocess
import sys

import pytest

from windlass.connect import check_url, connect
from windlass.core.errors import InvalidURL
from windlass.core.model import Settings
from windlass.core.redis_url import RedisURL, parse_redis_url


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://localhost", RedisURL(host="localhost")),
        ("valkey://h:7000/3", RedisURL(host="h", port=7000, db=3)),
        ("redis://[::1]:7000", RedisURL(host="::1", port=7000)),
        ("redis://me:p%40ss@h/", RedisURL(host="h", user="me", password="p@ss")),
        ("redis://:pass@h", RedisURL(host="h", password="pass")),
        ("redis://h?namespace=shop&timeout=2.5", RedisURL(host="h", namespace="shop", timeout=2.5)),
        ("rediss://h?ca=/etc/ca.pem", RedisURL(host="h", tls=True, ca="/etc/ca.pem")),
        ("valkeys://h", RedisURL(host="h", tls=True)),
        ("unix:///run/a%20b.sock?db=2", RedisURL(path="/run/a b.sock", db=2)),
        ("unix://:pass@/run/r.sock", RedisURL(path="/run/r.sock", password="pass")),
    ],
)
def test_what_a_url_means(url: str, meant: RedisURL) -> None:
    assert parse_redis_url(url) == meant


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:secret@h/1?namespace=shop", "redis://h:6379/1?namespace=shop"),
        ("valkeys://:secret@h", "rediss://h:6379/0"),
        ("redis://[::1]", "redis://[::1]:6379/0"),
        ("unix://:secret@/run/r.sock?db=2&namespace=a", "unix:///run/r.sock?namespace=a&db=2"),
    ],
)
def test_what_is_shown_of_it(url: str, shown: str) -> None:
    assert connect(url, Settings()).url == shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://h:port", "the port is no number"),
        ("redis://h:99999", "the port is no number"),
        ("redis://h/first", "the database is no number"),
        ("redis://h/1/2", "the database is no number"),
        ("redis://h?db=1", "belongs behind the slash"),
        ("redis://h?pool=3", "has an option that is not known; known are namespace, timeout, ca"),
        ("redis://h?namespace=", "namespace: expected up to 64"),
        ("redis://h?namespace={x}", "namespace: expected up to 64"),
        ("redis://h?timeout=0", "timeout: expected 0.1 to 60"),
        ("redis://h?timeout=long", "timeout: expected 0.1 to 60"),
        ("redis://h?ca=/etc/ca.pem", "ca is for rediss://"),
        ("redis://h#part", "has a fragment"),
        ("unix://host/run/r.sock", "expected unix:///path"),
        ("unix://", "expected unix:///path"),
    ],
)
def test_what_is_said_of_one_that_means_nothing(url: str, said: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        check_url(url)
    assert said in str(caught.value)


def test_without_the_driver_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["hiredis"] = None
from windlass.connect import connect
from windlass.core.errors import MissingExtra
from windlass.core.model import Settings
try:
    connect("redis://me:secret@h", Settings())
except MissingExtra as error:
    assert "pip install windlass[redis]" in str(error), error
    assert "secret" not in str(error), error
else:
    raise AssertionError("no complaint")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
