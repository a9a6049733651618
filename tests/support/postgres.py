"""A real PostgreSQL of the test's own, which can be restarted, killed, made read-only and filled with connections."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from support.node import wait_until
from support.ports import free_port

USER, PASSWORD = "modelyard", "a-secret-of-this-test"
# What a crash of the machine would lose is no matter here, and each commit is faster by a disk's turn.
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3])
    assert found, "PostgreSQL is missing: make .setup/system installs it"
    return found[-1].parent


class PostgresServer:
    """A server on a free port; a context manager that leaves no process and no file behind. ``durable``: what it
    is by default, which costs time."""

    def __init__(self, *settings: str, durable: bool = False) -> None:
        self.bin = _programs()
        self.port = free_port()
        self.settings = settings if durable else (*_FAST, *settings)
        # It refuses to run as root, and may not look into the folders of pytest.
        self.user = "postgres" if os.getuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="modelyard-pg-"))
        self.process: subprocess.Popen[bytes] | None = None
        self._made = 0
        self.migrated = "template0"  # a database that new ones may be copies of

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> "PostgresServer":
        if self.user is not None:
            account = pwd.getpwnam(self.user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        try:
            self._run("initdb", "--pgdata", "data", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--username=admin")  # fmt: skip
            self.start()
            self.admin(f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{PASSWORD}'")
            hba = self.folder / "data" / "pg_hba.conf"
            hba.write_text("local all all trust\nhost all admin 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")  # fmt: skip
            self.admin("SELECT pg_reload_conf()")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def start(self) -> "PostgresServer":
        options = [f"-c{setting}" for setting in self.settings]
        command = [str(self.bin / "postgres"), "-D", "data", "-p", str(self.port), "-k", str(self.folder),
                   "-clisten_addresses=127.0.0.1", *options]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, user=self.user, group=self.user
            )
        wait_until(self._answers, what="PostgreSQL answering")
        return self

    def stop(self, number: int = signal.SIGINT) -> None:
        """SIGINT: it ends its connections and itself; SIGQUIT: at once, as after a crash."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9 of the server and of all that serve a connection."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            os.kill(each, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def admin(self, statement: str, database: str = "postgres") -> list[Any]:
        """One statement of the superuser, outside of a transaction."""
        where = f"postgresql://admin@127.0.0.1:{self.port}/{database}"
        with psycopg.connect(where, autocommit=True) as connection:
            done = connection.execute(statement)  # pyright: ignore
            return done.fetchall() if done.description is not None else []

    def create(self, template: str = "template0") -> str:
        """A new database; its URL. A copy of ``template``, which nobody may use meanwhile."""
        self._made += 1
        name = f"test_{self._made}"
        self.admin(f"CREATE DATABASE {name} OWNER {USER} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    def drop(self, url: str) -> None:
        self.admin(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def disconnect(self, database_url: str, application: str = "%") -> int:
        """End the connections to a database, of programs of a name; how many there were."""
        name = database_url.rpartition("/")[2]
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name}' AND application_name LIKE '{application}'"
        )
        return len(self.admin(query))

    def set(self, name: str, value: str | None) -> None:
        """Set the server's parameter (None: as it was), for all transactions from now on."""
        change = f"RESET {name}" if value is None else f"SET {name} = {value}"
        # Whatever it is set to, this connection may write it.
        where = f"postgresql://admin@127.0.0.1:{self.port}/postgres?options=-c%20default_transaction_read_only%3Doff"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM {change}")  # pyright: ignore
            connection.execute("SELECT pg_reload_conf()")

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def _answers(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log()
        try:
            self.admin("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.bin / program), *arguments],
            cwd=self.folder, user=self.user, group=self.user, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
