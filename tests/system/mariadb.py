"""A MariaDB server of the tests' own, of Debian's package mariadb-server-core."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

TABLES = Path("/usr/share/mysql")
PORT = 3307
PROGRAM = shutil.which("mariadbd", path="/usr/sbin:/usr/bin")
ACCOUNT = f"127.0.0.1|{PORT}|vpopmail|secret|vpopmail"
"""A line of etc/vpopmail.mysql."""
START = """\
CREATE DATABASE IF NOT EXISTS vpopmail;
CREATE USER IF NOT EXISTS 'vpopmail'@'%' IDENTIFIED BY 'secret';
GRANT ALL ON vpopmail.* TO 'vpopmail'@'%';
CREATE USER IF NOT EXISTS 'vpopmail'@'localhost' IDENTIFIED BY 'secret';
GRANT ALL ON vpopmail.* TO 'vpopmail'@'localhost';
"""


class Server:
    """A server whose files are below a directory; not started yet."""

    def __init__(self, top: Path) -> None:
        self.socket = top / "socket"
        data = top / "data"
        data.mkdir()
        (top / "start.sql").write_text(START)
        self.command = [
            *[str(PROGRAM), "--no-defaults", "--user=root", f"--datadir={data}"],
            *["--skip-log-bin", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M"],
        ]
        tables = ["mysql_system_tables.sql", "mysql_system_tables_data.sql"]
        texts = ["CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"]
        texts += [(TABLES / name).read_text() for name in tables]
        self.log = (top / "log").open("ab")
        subprocess.run(
            [*self.command, "--bootstrap"],
            input="".join(texts).encode(),
            stdout=self.log,
            stderr=self.log,
            check=True,
        )
        self.running: subprocess.Popen[bytes] | None = None
        self.serving = [
            *[f"--socket={self.socket}", f"--port={PORT}", "--bind-address=127.0.0.1"],
            f"--init-file={top / 'start.sql'}",
        ]

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        self.running = subprocess.Popen(
            [*self.command, *self.serving], stdout=self.log, stderr=self.log
        )
        # The socket is made last.
        end = time.monotonic() + 60
        while not self.socket.exists():
            assert self.running.poll() is None, "the server has ended, see its log"
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop it, and return when it is gone."""
        if self.running:
            self.running.terminate()
            self.running.wait()
        self.running = None
