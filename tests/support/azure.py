"""A real server of Azure Blob Storage (Azurite, Azure's own emulator), of the test's own."""

import base64
import email.utils
import hashlib
import hmac
import os
import socket
import urllib.request
from pathlib import Path

from support.ports import free_port
from support.server_program import ServerProgram

ACCOUNT = "yard"
KEY = base64.b64encode(b"the key of a test of azure").decode()
_PROGRAM = Path(__file__).parents[2] / ".setup/node/node_modules/azurite/dist/src/blob/main.js"
_VERSION = "2021-08-06"


class AzureServer:
    """A context manager that leaves no process behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._program = ServerProgram(folder, "Azure")

    def variables_at(self, port: int) -> dict[str, str]:
        """What tells a client to use it, at this or another port that leads here."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
        }  # fmt: skip

    @property
    def variables(self) -> dict[str, str]:
        return self.variables_at(self.port)

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint=http://127.0.0.1:{self.port}/{ACCOUNT};"
        )

    def make(self, container: str) -> None:
        """Make a container, with a request that is signed as Azure wants it (SharedKey)."""
        date = email.utils.formatdate(usegmt=True)
        resource = f"/{ACCOUNT}/{ACCOUNT}/{container}\nrestype:container"
        told = "PUT\n" + "\n" * 11 + f"x-ms-date:{date}\nx-ms-version:{_VERSION}\n{resource}"
        signed = hmac.new(base64.b64decode(KEY), told.encode(), hashlib.sha256).digest()
        headers = {
            "x-ms-date": date, "x-ms-version": _VERSION,
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(signed).decode()}",
        }  # fmt: skip
        url = f"http://127.0.0.1:{self.port}/{ACCOUNT}/{container}?restype=container"
        with urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers), timeout=60):
            pass

    def __enter__(self) -> "AzureServer":
        self.folder.mkdir(parents=True)
        self._program.start(
            ["node", str(_PROGRAM), "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--silent", "--location",
             str(self.folder / "data"), "--skipApiVersionCheck", "--disableTelemetry"],
            self._listens, {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"},
        )  # fmt: skip
        return self

    def __exit__(self, *stopped: object) -> None:
        self._program.stop()

    def _listens(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), 5).close()
        return True
