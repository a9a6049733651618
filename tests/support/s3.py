"""A real server of S3 (SeaweedFS), of the test's own."""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

from support.ports import free_port
from support.server_program import ServerProgram

KEY, SECRET = "test-key", "test-secret"


class S3Server:
    """A context manager that leaves no process behind; its buckets are made when something is put into them.

    It holds ``volumes`` times 64 MiB, which take room on the disk as they are filled.
    """

    def __init__(self, folder: Path, volumes: int = 200) -> None:
        self.folder = folder
        self.volumes = volumes
        self.port = free_port()
        self._program = ServerProgram(folder, "S3")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def variables_at(self, port: int) -> dict[str, str]:
        """What tells a client of S3 to use it, at this or another port that leads here."""
        return {
            "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        }  # fmt: skip

    @property
    def variables(self) -> dict[str, str]:
        return self.variables_at(self.port)

    def make(self, bucket: str) -> None:
        """Nothing: it makes its buckets itself."""

    def __enter__(self) -> "S3Server":
        self.folder.mkdir(parents=True)
        who = {"accessKey": KEY, "secretKey": SECRET}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identities = {"identities": [{"name": "test", "credentials": [who], "actions": actions}]}
        (self.folder / "s3.json").write_text(json.dumps(identities))
        (self.folder / "data").mkdir()
        names = (
            "master.port",
            "volume.port",
            "filer.port",
            *(f"{each}.port.grpc" for each in ("master", "volume", "filer", "s3")),
        )
        ports = [f"-{name}={free_port()}" for name in names]
        self._program.start(
            [str(Path(sys.executable).with_name("weed")), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
             f"-dir={self.folder / 'data'}", *ports, "-filer", "-s3", f"-s3.port={self.port}",
             f"-s3.config={self.folder / 's3.json'}", f"-volume.max={self.volumes}", "-master.volumeSizeLimitMB=64",
             "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"],
            self._takes_objects,
        )  # fmt: skip
        return self

    def __exit__(self, *stopped: object) -> None:
        self._program.stop()

    def _takes_objects(self) -> bool:
        """It listens a while before."""
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        try:
            with urllib.request.urlopen(self.url, timeout=5):
                pass
        except urllib.error.HTTPError:
            pass  # it listens; who asks without a key is refused
        store = S3Store(
            "ready", access_key_id=KEY, secret_access_key=SECRET, endpoint=self.url, region="us-east-1",
            client_options={"allow_http": True}, retry_config={"max_retries": 0},
        )  # fmt: skip
        try:
            obstore.put(store, "ready", b"ready", use_multipart=False)
        except BaseError:
            return False
        return True
