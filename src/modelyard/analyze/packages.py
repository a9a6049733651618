"""Packages of an index by the module that they are imported as, where the two differ.

Public names of the Python Package Index; the list holds what models import often.
"""

import re
from collections.abc import Iterable
from typing import Final

from packaging.utils import NormalizedName, canonicalize_name

_PACKAGES: Final = {
    "cv2": "opencv-python-headless", "PIL": "pillow", "sklearn": "scikit-learn", "skimage": "scikit-image", "yaml": "pyyaml",
    "Bio": "biopython", "bs4": "beautifulsoup4", "dateutil": "python-dateutil", "dotenv": "python-dotenv", "attr": "attrs",
    "google.protobuf": "protobuf", "OpenSSL": "pyopenssl", "Crypto": "pycryptodome", "serial": "pyserial", "usb": "pyusb",
    "fitz": "pymupdf", "docx": "python-docx", "pptx": "python-pptx", "magic": "python-magic", "Levenshtein": "levenshtein",
    "openbabel": "openbabel-wheel", "pytorch_lightning": "pytorch-lightning", "lightning_fabric": "lightning",
    "sentence_transformers": "sentence-transformers", "faiss": "faiss-cpu", "tflite_runtime": "ai-edge-litert",
    "ai_edge_litert": "ai-edge-litert", "llama_cpp": "llama-cpp-python", "torch_geometric": "torch-geometric",
    "torch_scatter": "torch-scatter", "torch_sparse": "torch-sparse", "torch_cluster": "torch-cluster", "pkg_resources": "setuptools",
    "umap": "umap-learn", "hydra": "hydra-core", "omegaconf": "omegaconf", "esm": "fair-esm", "igraph": "python-igraph",
    "community": "python-louvain", "MDAnalysis": "mdanalysis", "simtk": "openmm", "win32api": "pywin32", "jwt": "pyjwt",
    "slugify": "python-slugify", "unidecode": "unidecode", "jose": "python-jose", "multipart": "python-multipart",
    "speech_recognition": "speechrecognition", "pyximport": "cython", "Cython": "cython", "mpl_toolkits": "matplotlib",
    "pylab": "matplotlib", "snappy": "python-snappy", "ruamel": "ruamel-yaml", "zmq": "pyzmq", "git": "gitpython", "soxr": "soxr",
    "flax": "flax", "haiku": "dm-haiku", "tree": "dm-tree", "pandas": "pandas", "absl": "absl-py", "crcmod": "crcmod",
}  # fmt: skip


# Packages that projects often use without listing them, because another one used to bring them.
_COMMON: Final = frozenset(
    {"numpy", "scipy", "pandas", "torch", "torchvision", "torchaudio", "tensorflow", "keras", "jax",
     "transformers", "tokenizers", "sentencepiece", "onnxruntime", "onnx", "rdkit", "matplotlib", "tqdm",
     "requests", "joblib", "six", "regex", "nltk", "einops", "networkx", "numba", "h5py", "psutil", "click",
     "lxml", "librosa", "soundfile", "numexpr"}
)  # fmt: skip

# What a module needs of its package beyond being there.
_BOUNDS: Final = {"pkg_resources": "<81"}


def requirement_of(module: str) -> str:
    """The line that installs ``module``."""
    return package_of(module) + _BOUNDS.get(module, "")


def is_known(module: str) -> bool:
    """Whether it is known for sure which package gives ``module``."""
    return module in _PACKAGES or module in _COMMON


def alike(module: str, packages: Iterable[str]) -> bool:
    """Whether one of ``packages`` is called like ``module``: pycrfsuite is of python-crfsuite."""
    return _core(module) in {_core(package) for package in packages}


def _core(name: str) -> str:
    plain = re.sub(r"[-_.]", "", name.lower())
    return re.sub(r"^(python3?|py)|(python3?|py)$", "", plain) or plain


def package_of(module: str) -> NormalizedName:
    """The package that gives ``module``: by the list, else of the same name."""
    return canonicalize_name(_PACKAGES.get(module, module))
