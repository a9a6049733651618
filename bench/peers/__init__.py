"""The servers beside us. Adding one: its line here, its program in `programs/`."""

from bench.peers.peer import Peer

_RUNTIME = ("onnxruntime>=1.20,<2", "numpy>=1.26,<3", "msgspec>=0.19,<1")

PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "triton",
            "Triton (Python backend)",
            "triton_server.py",
            ("nvidia-pytriton==0.7.0", *_RUNTIME),
            speaks=("json", "binary", "grpc"),
            options=("--max-batch", "64"),
        ),
        Peer("mosec", "mosec", "mosec_server.py", ("mosec>=0.9,<1", *_RUNTIME)),
        Peer(
            "fastapi",
            "FastAPI + ONNX Runtime in one process",
            "fastapi_server.py",
            ("fastapi", "uvicorn", "uvloop", "httptools", *_RUNTIME),
            apart=False,
        ),
    )
}
