"""Options of a job: what each accepts, and which contradict each other."""

import datetime as dt
from typing import Any

import pytest

from windlass.choices import NONE, choose
from windlass.core.clock import DAY, MINUTE, SECOND
from windlass.core.codec import Signature
from windlass.core.errors import InvalidName, InvalidOption
from windlass.core.model import NewJob, Unique, UniqueUntil
from windlass.core.options import decode_options
from windlass.core.retry import Retry
from windlass.core.task import TaskSpec

SOON = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
LATER = SOON + dt.timedelta(hours=1)


def send(to: str) -> None: ...


SPEC = TaskSpec(
    name="demo.send", function=send, signature=Signature("demo.send", send), executor="thread", queue="mail"
)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"priority": 10}, "priority=10: expected an integer from 0"),
        ({"priority": -1}, "priority=-1"),
        ({"priority": "high"}, "priority='high'"),
        ({"priority": True}, "priority=True"),
        ({"priority": 5.0}, "priority=5.0"),
        ({"delay": -1}, "delay: -1 seconds"),
        ({"delay": float("nan")}, "delay: nan seconds"),
        ({"delay": 1e18}, "delay: 1e+18 seconds is not between"),
        ({"delay": "60"}, "delay: expected seconds or a timedelta, got str"),
        ({"delay": True}, "delay: expected seconds"),
        ({"at": dt.datetime(2030, 1, 1)}, "at: 2030-01-01T00:00:00 has no time zone"),  # noqa: DTZ001
        ({"at": 5}, "at: expected a datetime, got int"),
        ({"delay": 5, "at": SOON}, "delay and at: give one"),
        ({"delay": 60, "expires": 30}, "expires: the job would be due"),
        ({"delay": 60, "expires": 60}, "expires: the job would be due"),
        ({"at": LATER, "expires": SOON}, "expires: the job would be due"),
        ({"at": LATER, "expires": 5}, "expires: the job would be due"),
        ({"delay": 7200, "expires": SOON}, "expires: the job would be due"),
        ({"expires": dt.datetime(2030, 1, 1)}, "has no time zone"),  # noqa: DTZ001
        ({"timeout": 0}, "timeout: 0 seconds"),
        ({"timeout": -1}, "timeout: -1"),
        ({"retry": 3}, "retry=3: expected for example Retry(attempts=5)"),
        ({"unique_until": "started"}, "unique_until says what a unique key does, and there is none"),
        ({"on_conflict": "raise", "unique": False}, "on_conflict says what a unique key does"),
        ({"unique": "a", "unique_until": "done"}, "unique_until='done': expected 'finished', 'started'"),
        ({"unique": "a", "on_conflict": "ignore"}, "on_conflict='ignore': expected 'return', 'raise', 'replace'"),
        ({"headers": {"a": 1}}, "headers: expected str to str, got str to int"),
        ({"headers": ["a"]}, "headers: expected a mapping"),
        ({"headers": {"a": "x" * 9000}}, "headers: 9001 bytes exceed the limit"),
        ({"headers": {"a": "\ud800"}}, "lone surrogates"),
    ],
)
def test_an_impossible_option_is_refused_with_a_reason(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        NONE.merged(choose(**options))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"queue": "no spaces"}, {"queue": ""}, {"queue": 5}, {"unique": ""}, {"unique": "a\nb"}, {"limit_by": "\x00"}],
)
def test_names_and_keys_keep_their_grammar(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidName):
        choose(**options)


def test_options_become_a_job() -> None:
    retry = Retry(attempts=3)
    choices = choose(
        queue="urgent",
        priority=9,
        delay=1.5,
        expires=dt.timedelta(minutes=2),
        unique="k",
        unique_until="started",
        on_conflict="replace",
        retry=retry,
        timeout=2,
        result_ttl=dt.timedelta(days=2),
        limit_by="tenant:7",
        headers={"trace": "1"},
    )
    job = choices.template(SPEC)
    options = decode_options(job.options)
    assert (job.task, job.queue, job.priority) == ("demo.send", "urgent", 9)
    assert (job.delay, job.expires_in) == (1.5 * SECOND, 2 * MINUTE)
    assert job.unique == Unique("k", UniqueUntil.STARTED, replace=True)
    assert job.limit_key == "tenant:7"
    assert (options.retry, options.timeout, options.keep) == (retry, 2 * SECOND, 2 * DAY)
    assert options.headers == {"trace": "1"}


def test_without_options_a_job_is_as_the_task_says() -> None:
    assert choose().template(SPEC) == NewJob(id=b"", payload=b"", task="demo.send", queue="mail")


def test_a_retention_is_never_shorter_than_an_id_must_be_known() -> None:
    assert choose(result_ttl=0).keep == 5 * MINUTE


def test_later_options_win_and_contradictions_are_found_across_both() -> None:
    first = choose(priority=1, delay=60, headers={"a": "1", "b": "1"})
    both = first.merged(choose(priority=2, headers={"b": "2"}))
    assert (both.priority, both.delay, both.headers) == (2, 60 * SECOND, {"a": "1", "b": "2"})
    with pytest.raises(InvalidOption, match="delay and at"):
        first.merged(choose(at=SOON))
    with pytest.raises(InvalidOption, match="expires"):
        first.merged(choose(expires=30))


def test_a_unique_key_can_be_refined_and_taken_back() -> None:
    keyed = choose(unique="k").merged(choose(on_conflict="raise"))
    assert (keyed.unique, keyed.on_conflict) == ("k", "raise")
    plain = keyed.merged(choose(unique=False))
    assert plain.template(SPEC).unique is None
    assert plain.on_conflict is None
