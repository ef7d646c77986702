"""What ``windlass worker`` reads out of its options; what it refuses is in a snapshot."""

import argparse

import pytest

from windlass.cli import arguments, worker


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("500MiB", 500 * 2**20),
        ("500mib", 500 * 2**20),
        ("500M", 500 * 2**20),
        ("500MB", 500_000_000),
        ("1.5GiB", 1536 * 2**20),
        ("1024K", 2**20),
        ("1048576KiB", 2**30),
    ],
)
def test_memory(text: str, amount: int) -> None:
    assert worker._memory(text) == amount


@pytest.mark.parametrize(
    "text", ["", "500", "MiB", "-5MiB", "1MiBs", "1TiB", "9" * 40 + "GiB", "0.5MiB", "nanMiB", "1e3M"]
)
def test_what_is_no_memory(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="such as 500MiB"):
        worker._memory(text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("8080", "127.0.0.1:8080"),
        ("0", "127.0.0.1:0"),
        ("localhost:8080", "localhost:8080"),
        ("0.0.0.0:8080", "0.0.0.0:8080"),
        ("[::]:8080", ":::8080"),
        ("health.example.org:80", "health.example.org:80"),
    ],
)
def test_endpoint(text: str, where: str) -> None:
    assert arguments.endpoint(text) == where


@pytest.mark.parametrize("text", ["", ":80", "80:", "65536", "-1", "a b:80", "::1:80", "*:80", "http://x:80", "x:80/"])
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="HOST:PORT"):
        arguments.endpoint(text)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("0.0", 0.0), ("0.05", 0.05), ("2", 2.0)])
def test_lag(text: str, seconds: float) -> None:
    assert worker._lag(text) == seconds


@pytest.mark.parametrize("text", ["", "nan", "inf", "-0.5", "0.04", "4000", "soon"])
def test_what_is_no_lag(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"0\.05 to 3600, or 0"):
        worker._lag(text)
