"""The node's program: ``python -m modelyard.serve``."""

import gc
import sys

import uvloop

from modelyard.core.errors import ModelyardError
from modelyard.core.settings import Home, load_settings
from modelyard.host.home import read_key
from modelyard.host.lock import ProgramLock
from modelyard.host.log_lines import configure
from modelyard.host.network import bind, check_address
from modelyard.serve.cache.redis import address_of
from modelyard.serve.node import Node
from modelyard.serve.observe.context import check_tracing


def main() -> int:
    """Run the node until it is told to stop; 1 when it cannot start, with a sentence."""
    try:
        settings = load_settings()
        configure(settings.log_level)
        check_address(settings.node_host, settings.authentication, program="node", field="node_host")
        if settings.redis_url is not None:
            address_of(settings.redis_url)  # a wrong one is told before anything starts
        if settings.otlp_endpoint is not None:
            check_tracing(settings.otlp_endpoint)
        home = Home(settings.home)
        lock = ProgramLock(home.run, "node")
        lock.acquire()
        key = read_key(home.node_key)
        listener = bind(
            settings.node_host,
            settings.node_port,
            program="node",
            option="--node-port",
            variable="MODELYARD_NODE_PORT",
        )
        grpc_listener = bind(
            settings.node_host,
            settings.grpc_port,
            program="node",
            option="--grpc-port",
            variable="MODELYARD_GRPC_PORT",
        )
    except ModelyardError as error:
        print(f"modelyard node: {error.message}", file=sys.stderr)
        return 1

    async def serve() -> None:
        await Node(settings, key).run(listener, grpc_listener)

    # What is there now stays; what comes goes with its request. Looking for cycles less often is
    # worth a twentieth of the throughput.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        uvloop.run(serve())
    except ModelyardError as error:  # devices that cannot be as they were told
        print(f"modelyard node: {error.message}", file=sys.stderr)
        return 1
    lock.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
