"""A call: a task with its arguments bound and encoded, not yet enqueued."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import msgspec
from msgspec.structs import replace

from windlass import blocking
from windlass.choices import Choices, check_headers
from windlass.client import Client
from windlass.core.errors import CapabilityMissing, DuplicateJob, UnknownParent
from windlass.core.foreign import enc_hook
from windlass.core.ids import new_id, to_text
from windlass.core.limit_keys import key_of
from windlass.core.model import EnqueueAnswer, Enqueued, NewJob, Parent
from windlass.core.options import encode_options
from windlass.core.steps import StepInfo
from windlass.core.task import TaskSpec
from windlass.job import Job
from windlass.store.port import Capability, Transactional

if TYPE_CHECKING:
    from windlass.telemetry import Here

log = logging.getLogger("windlass")

R_co = TypeVar("R_co", covariant=True)


class Recipe:
    """How jobs of one task with one set of options are made; decided once, so that a job costs little."""

    __slots__ = ("_choices", "_template", "_unsampled", "client", "limit_by", "spec")

    def __init__(self, client: Client, spec: TaskSpec, choices: Choices) -> None:
        self.client = client
        self.spec = spec
        self._choices = choices
        self._template = choices.template(spec)
        self._unsampled: tuple[Here, NewJob] | None = None
        """The template in a trace that is not sampled, where all jobs have the same headers; and which that was."""
        self.limit_by = spec.limit_by if choices.limit_by is None else None
        """The parameter whose argument makes the limit key."""

    @property
    def choices(self) -> Choices:
        """The options that jobs get."""
        return self._choices

    def plain_job(self, payload: bytes, limit_key: str | None) -> NewJob:
        """Make a job without an id, and without what middleware adds."""
        unique = (
            self._choices.unique_for(self._key_of(payload)) if self._choices.unique is True else self._template.unique
        )
        return replace(self._template, payload=payload, unique=unique, limit_key=limit_key or self._template.limit_key)

    def new_job(self, payload: bytes, limit_key: str | None = None, id: bytes | None = None) -> NewJob:
        """Make a job. ``limit_key``: the one that its arguments make, if there is one; ``id``: default: a fresh one."""
        template = self._template
        job_id = new_id() if id is None else id
        if self._adds_headers():
            template = self._with_headers(job_id)
        if self._choices.unique is True:
            template = replace(template, unique=self._choices.unique_for(self._key_of(payload)))
        if limit_key is not None:
            return replace(template, id=job_id, payload=payload, limit_key=limit_key)
        return replace(template, id=job_id, payload=payload)

    def step_job(
        self,
        id: bytes,
        payload: bytes,
        limit_key: str | None,
        parents: tuple[Parent, ...],
        info: StepInfo,
        *,
        secret: tuple[str, ...] = (),
    ) -> NewJob:
        """Make the job of a step. It has no unique key: it is stored with its run, once. ``secret``: arguments that are
        shown to nobody, besides those of which the task says so."""
        return replace(
            self._template,
            id=id,
            payload=payload,
            options=self.step_options(info, id, parents, secret),
            unique=None,
            limit_key=limit_key or self._template.limit_key,
            parents=parents,
        )

    def step_options(
        self,
        info: StepInfo,
        id: bytes | None = None,
        parents: Sequence[Parent] = (),
        secret: tuple[str, ...] = (),
    ) -> bytes | None:
        """The options of the job of a step; of a map's items, which have ids only later."""
        choices = self._choices
        headers = self._headers(id, parents) if self._adds_headers() else choices.headers
        options = choices.for_worker(headers, self.spec)
        return encode_options(replace(options, step=info, secret=(*options.secret, *secret)))

    def _key_of(self, payload: bytes) -> str:
        """A key that is the same for the same arguments, however they were given: by position or name, a default left
        out or written out, mappings and sets in any order."""
        arguments = msgspec.json.encode(self.spec.signature.decode(payload), enc_hook=enc_hook, order="deterministic")
        return hashlib.blake2b(arguments, digest_size=16).hexdigest()

    def _adds_headers(self) -> bool:
        """Whether there is anybody now who has something to send along."""
        client = self.client
        return bool(client.enqueue_hooks) or (client.tracing is not None and client.tracing.here().in_trace)

    def _with_headers(self, id: bytes) -> NewJob:
        """The template, with what is to be sent along."""
        here = None if self.client.tracing is None else self.client.tracing.here()
        is_shared = here is not None and here.in_trace and not here.sampled and not self.client.enqueue_hooks
        made = self._unsampled
        if is_shared and made is not None and made[0] is here:
            return made[1]
        template = replace(
            self._template, options=encode_options(self._choices.for_worker(self._headers(id), self.spec))
        )
        if here is not None and is_shared:
            self._unsampled = here, template
        return template

    def _headers(self, id: bytes | None, parents: Sequence[Parent] = ()) -> dict[str, str]:
        headers = dict(self._choices.headers or {})
        for hook in self.client.enqueue_hooks:
            try:
                hook.enqueue(self.spec.name, headers)
            except Exception:
                log.exception("middleware %s failed before enqueueing %s", type(hook).__name__, self.spec.name)
        headers = check_headers(headers)
        if self.client.tracing is not None and self.client.tracing.here().in_trace:
            self.client.tracing.created(
                self.spec.name, self._template.queue, id, headers, [parent.id for parent in parents]
            )
        return headers

    def job(self, new: NewJob, answer: EnqueueAnswer) -> Job[object]:
        """Turn the store's answer into a `Job`. Raises `DuplicateJob` if asked to, and `UnknownParent`."""
        if answer.status is Enqueued.STORED:
            return Job(self.client, new.id, self.spec)
        if answer.status is Enqueued.UNKNOWN_PARENT:
            raise UnknownParent(f"task {self.spec.name!r}: the store does not have a job that this one depends on")
        holder = answer.holder or b""
        if self._choices.on_conflict == "raise":
            raise DuplicateJob(
                f"task {self.spec.name!r}: job {to_text(holder)} holds the unique key and has not finished",
                job_id=to_text(holder),
            )
        return Job(self.client, holder, self.spec, duplicate=True)


class Call(Generic[R_co]):
    """A task with its arguments bound: pass it to `App.enqueue_many`, or enqueue it later, any number of times."""

    __slots__ = ("limit_key", "payload", "recipe")

    def __init__(self, recipe: Recipe, payload: bytes) -> None:
        self.recipe = recipe
        self.payload = payload
        """The arguments, encoded as JSON."""
        self.limit_key = None if recipe.limit_by is None else key_of(recipe.spec.signature, payload, recipe.limit_by)
        """The limit key that the arguments make, if the task is limited by one of them."""

    @property
    def task(self) -> str:
        """The task's name."""
        return self.recipe.spec.name

    def __repr__(self) -> str:
        return f"<Call of {self.task}, {len(self.payload)} bytes>"

    async def enqueue(self) -> Job[R_co]:
        """Store a job with these arguments. Raises as `Task.enqueue`."""
        job = self.recipe.new_job(self.payload, self.limit_key)
        client = self.recipe.client
        connection = self.recipe.choices.connection
        if connection is not None:
            return self._stored(job, await _transactional(client).enqueue_in(connection, (job,)))
        stored = self.recipe.job(job, (await send(client, (job,), len(self.payload)))[0])
        if client.inline is not None:
            await client.inline.run()
        return cast("Job[R_co]", stored)

    def enqueue_sync(self) -> Job[R_co]:
        """As `enqueue`, blocking."""
        job = self.recipe.new_job(self.payload, self.limit_key)
        client = self.recipe.client
        connection = self.recipe.choices.connection
        if connection is not None:
            return self._stored(job, _transactional(client).enqueue_in_sync(connection, (job,)))
        stored = self.recipe.job(job, blocking.run(lambda: send(client, (job,), len(self.payload)))[0])
        if client.inline is not None:
            client.inline.run_sync()
        return cast("Job[R_co]", stored)

    def _stored(self, job: NewJob, answers: list[EnqueueAnswer]) -> Job[R_co]:
        return cast("Job[R_co]", self.recipe.job(job, answers[0]))


def _transactional(client: Client) -> Transactional:
    """The store, if it can store jobs inside a transaction of the user's own. Raises `CapabilityMissing`."""
    store = client.origin
    if Capability.TRANSACTIONAL not in store.capabilities or not isinstance(store, Transactional):
        raise CapabilityMissing(
            f"connection=: {store.url} cannot store a job inside your own transaction; a store in PostgreSQL can"
        )
    return store


async def send(client: Client, jobs: Sequence[NewJob], size: int) -> list[EnqueueAnswer]:
    """Store jobs through the store of the running event loop."""
    opened = await client.opened()
    return await opened.enqueuer.enqueue(jobs, size)
