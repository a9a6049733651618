"""The node's program: ``python -m modelyard.serve``."""

import fcntl
import gc
import ipaddress
import os
import sys
from typing import TextIO

import uvloop

from modelyard.core.errors import Conflict, Forbidden, ModelyardError, Unavailable
from modelyard.core.settings import Home, Settings, load_settings
from modelyard.serve.logs import configure
from modelyard.serve.node import Node
from modelyard.serve.server import listen


def main() -> int:
    """Run the node until it is told to stop; 1 when it cannot start, with a sentence."""
    try:
        settings = load_settings()
        configure(settings.log_level)
        check_address(settings)
        home = Home(settings.home)
        lock = hold_lock(home)
        key = read_key(home)
        listener = listen(settings.node_host, settings.node_port)
    except ModelyardError as error:
        print(f"modelyard node: {error.message}", file=sys.stderr)
        return 1

    async def serve() -> None:
        await Node(settings, key).run(listener)

    # What is there now stays; what comes goes with its request. Looking for cycles less often is
    # worth a twentieth of the throughput.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    uvloop.run(serve())
    lock.close()
    return 0


def check_address(settings: Settings) -> None:
    """Raise Forbidden for an address that others reach while nobody is asked for a key."""
    if settings.authentication or settings.node_host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(settings.node_host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise Forbidden(
            f"{settings.node_host} can be reached from other machines and authentication is off; start with "
            "--authentication (MODELYARD_AUTHENTICATION=true) or listen on 127.0.0.1."
        )


def hold_lock(home: Home) -> TextIO:
    """The lock of this home's only node, held for as long as the file is open. Raises Conflict."""
    home.run.mkdir(parents=True, exist_ok=True)
    file = (home.run / "node.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Conflict(f"A node is running for {home.root} already.") from None
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file


def read_key(home: Home) -> str:
    """What control plane and node share. Raises Unavailable when the platform was never started."""
    try:
        key = home.node_key.read_text().strip()
    except OSError as error:
        raise Unavailable(
            f"{home.node_key} cannot be read ({error.strerror}); run: modelyard up"
        ) from error
    if len(key) < 16:
        raise Unavailable(f"{home.node_key} holds no usable key; remove it and run: modelyard up")
    return key


if __name__ == "__main__":
    sys.exit(main())
