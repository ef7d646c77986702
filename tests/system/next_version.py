"""A version of Windlass to come, with one more layout of PostgreSQL's, planted into this one.

``python -m tests.system.next_version migrate|finish|work``, with the environment of `tests.system.crash_app`.
"""

import asyncio
import os
import signal
import sys

from windlass.connect import connect
from windlass.core.clock import SECOND
from windlass.core.errors import SchemaMismatch
from windlass.core.model import Settings
from windlass.store.postgres import link, schema
from windlass.store.postgres.statements import statements_of
from windlass.store.statements import Migration, functions

VERSION = schema.LATEST + 1
STEP = """-- Workers of the layout before go on.
ALTER TABLE jobs ADD COLUMN colour text NOT NULL DEFAULT 'grey';
ALTER TABLE sessions ADD COLUMN since_next boolean NOT NULL DEFAULT false;
CREATE INDEX jobs_colour ON jobs (colour) WHERE colour <> 'grey';
"""
NEW = """
-- One that nobody had before.
CREATE FUNCTION paint(s uuid) RETURNS text LANGUAGE sql AS $$ SELECT 'green'::text $$;
"""


def plant() -> None:
    """Have this process be of that version: another column is written, by a function that older code calls as well; and
    a function of older code's has another name."""

    def changed(dialect: str) -> tuple[str, ...]:
        scripts = [
            text.replace(" lanes, record)\n    VALUES (", " lanes, record, since_next)\n    VALUES (")
            .replace("t, its_lanes, its_record)", "t, its_lanes, its_record, paint(s) = 'green')")
            .replace("CREATE FUNCTION claim(", "CREATE FUNCTION grasp(")
            for text in functions(dialect)
        ]  # fmt: skip
        assert any("since_next" in text and "paint(s)" in text for text in scripts)
        return (NEW, *scripts)

    def renamed(its_schema: str) -> dict[str, str]:
        return {name: text.replace(".claim(", ".grasp(") for name, text in statements_of(its_schema).items()}

    link.statements_of = renamed
    schema.STEPS = (*schema.STEPS, Migration(VERSION, "colours", STEP))
    schema.LATEST = VERSION
    schema.functions = changed


async def _migrate(*, finish: bool) -> int:
    store = connect(os.environ["CRASH_URL"], Settings(lease=SECOND))
    try:
        sys.stdout.write("\n".join(await store.migrate(finish=finish)))
    except SchemaMismatch as error:
        sys.stdout.write(str(error))
        return 1
    finally:
        await store.aclose()
    return 0


async def _work() -> int:
    from tests.system.crash_app import app

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with app.worker(concurrency=20, grace=20):
        await stop.wait()
    await app.aclose()
    return 0


def main(what: str) -> int:
    plant()
    return asyncio.run(_work() if what == "work" else _migrate(finish=what == "finish"))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
