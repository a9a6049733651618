"""A registry with real files for the pages to show."""

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.control.app import create_app
from modelyard.core.manifest import FileEntry
from modelyard.core.model import Version
from modelyard.core.settings import Settings
from modelyard.registry import upload
from modelyard.registry.versions import register
from modelyard.web.pages import mount
from support.models import save_mlp

with warnings.catch_warnings():
    # Starlette would like a successor of httpx here; httpx is what we depend on.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient


def browser_of(home: Path, **settings: Any) -> TestClient:
    """The control plane's own app with the pages; its loops run while the client is open."""
    app = create_app(Settings(home=str(home), **settings))
    mount(app)
    return TestClient(app, base_url="http://127.0.0.1:8700", headers={"accept": "text/html"})


def platform_of(browser: TestClient) -> Any:
    """The platform behind a client."""
    return browser.app.state.platform  # pyright: ignore[reportAttributeAccessIssue]


def add(
    browser: TestClient, model: str, files: Mapping[str, bytes], *, trusted: bool = False, **options: Any
) -> Version:
    """A version of ``files``, as an upload would make it."""
    platform = platform_of(browser)
    entries = [
        FileEntry(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for path, data in files.items()
    ]
    # An upload first: what nothing refers to the janitor collects.
    made, _ = upload.begin(platform.uploads, platform.blobs, entries)
    for data in files.values():
        platform.blobs.put([data])
    version, _ = register(
        platform.blobs,
        platform.versions,
        model,
        made.manifest,
        trusted=trusted,
        safety=platform.safety,
        **options,
    )
    return version


def perceptron(folder: Path, *, seed: int = 0, hidden: int = 8) -> bytes:
    """The bytes of a small ONNX model."""
    return save_mlp(folder / f"{seed}-{hidden}.onnx", seed=seed, sizes=(4, hidden, 3)).read_bytes()


def pickled() -> bytes:
    """A regression of scikit-learn as a pickle: nothing bad, and loading it runs code."""
    from sklearn.linear_model import LinearRegression

    return pickle.dumps(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]))
