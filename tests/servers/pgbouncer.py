"""PgBouncer before a PostgreSQL of ours."""

from __future__ import annotations

from tests.servers.postgres import PostgresServer, accepts_sessions, as_postgres
from tests.servers.server import Server, find_binary


class PgBouncer(Server):
    """A private PgBouncer with few connections to the server, so that its clients share them.

    Args:
        server: where it leads to.
        mode: when a client gives its connection back: after each ``transaction``, or after its ``session``.
    """

    def __init__(self, server: PostgresServer, mode: str, size: int = 2) -> None:
        self._program = find_binary("pgbouncer", "pgbouncer")
        super().__init__()
        self.run_as = as_postgres(self.folder)
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(f"""
            [databases]
            postgres = host=127.0.0.1 port={server.port} user=postgres
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self.port}
            unix_socket_dir =
            auth_type = any
            pool_mode = {mode}
            default_pool_size = {size}
            max_client_conn = 500
        """)
        settings.chmod(0o644)

    @property
    def url(self) -> str:
        """Its URL, as that of a server."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        """See `Server`."""
        return [self._program, str(self.folder / "pgbouncer.ini")]

    def is_ready(self) -> bool:
        """Whether it accepts clients."""
        return accepts_sessions(self.port)
