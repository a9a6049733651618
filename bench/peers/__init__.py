"""The servers beside us. Adding one: its line here, its program in `programs/`."""

from bench.peers.peer import Peer

_RUNTIME = ("onnxruntime>=1.20,<2", "numpy>=1.26,<3", "msgspec>=0.19,<1", "tokenizers>=0.20,<1")

_TRITON = ("nvidia-pytriton==0.7.0", *_RUNTIME)

PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "triton",
            "Triton (Python backend)",
            "triton_server.py",
            _TRITON,
            speaks=("json", "binary", "grpc"),
            options=("--max-batch", "64"),
        ),
        # What its own guides turn for a small model on few cores; the best of the three counts as Triton.
        Peer(
            "triton-threads",
            "Triton, one HTTP thread instead of eight",
            "triton_server.py",
            _TRITON,
            speaks=("json", "binary"),
            options=("--max-batch", "64"),
            variables={"BENCH_TRITON_OPTIONS": "--http-thread-count=1"},
            environment="triton",
        ),
        Peer(
            "triton-delay",
            "Triton, batches delayed by up to 0.3 ms",
            "triton_server.py",
            _TRITON,
            speaks=("json", "binary"),
            options=("--max-batch", "64", "--max-wait-ms", "0.3"),
            environment="triton",
        ),
        Peer("mosec", "mosec", "mosec_server.py", ("mosec>=0.9,<1", *_RUNTIME)),
        Peer("litserve", "LitServe", "litserve_server.py", ("litserve>=0.2.5,<1", *_RUNTIME)),
        Peer(
            "mlserver",
            "MLServer",
            "mlserver_server.py",
            ("mlserver>=1.6,<2", "uvloop<0.22", *_RUNTIME),
            speaks=("json", "grpc"),
        ),
        Peer(
            "bentoml",
            "BentoML",
            "bentoml_server.py",
            ("bentoml>=1.4,<2", *_RUNTIME),
            path="/infer",
            body="data",
        ),
        Peer("ray", "Ray Serve", "ray_server.py", ("ray[serve]>=2.40,<3", *_RUNTIME)),
        Peer(
            "kserve",
            "KServe (model in the server's process)",
            "kserve_server.py",
            ("kserve>=0.15,<1", *_RUNTIME),
            apart=False,
        ),
        Peer(
            "fastapi",
            "FastAPI + ONNX Runtime in one process",
            "fastapi_server.py",
            ("fastapi", "uvicorn", "uvloop", "httptools", *_RUNTIME),
            apart=False,
        ),
        Peer(
            "infinity",
            "infinity-emb (PyTorch)",
            "infinity_server.py",
            (
                "torch==2.13.0",
                "infinity-emb[server]>=0.0.70,<1",
                "transformers<4.50",
                "sentence-transformers<4",
            ),
            speaks=(),
            apart=False,
            path="/embeddings",
            body="openai",
            installer="pip",
        ),
    )
}

# Serves ESM-2 alone, as the README of ESM2_MultiGPU_Inference describes it.
SEED003 = Peer(
    "seed003",
    "ESM2_MultiGPU_Inference's method",
    "seed003_server.py",
    ("torch==2.13.0", "transformers>=4.50,<6", "numpy>=1.26,<3", "fastapi", "uvicorn", "safetensors"),
    speaks=(),
    apart=False,
    installer="pip",
)
