"""An app with authentication, two projects with a model each, and a key of every kind."""

import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from sqlalchemy import update
from starlette.testclient import TestClient

from modelyard.control.app import create_app
from modelyard.control.platform import Platform
from modelyard.core.deployment import DeploymentSettings
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.model import Analysis
from modelyard.core.remotes import RemoteRoute
from modelyard.core.routes import Remote
from modelyard.core.settings import Settings
from modelyard.store import tables
from modelyard.store.projects import Projects
from modelyard.web.pages import mount

PREFIX = "/api/v1"


@dataclass
class Things:
    """What is in a project, by what the paths of the API name."""

    project: str
    model: str
    endpoint: str
    job: str
    upload: str
    deployment: str
    key: str
    sha256: str
    environment: str


@dataclass
class Yard:
    app: FastAPI
    client: TestClient
    ours: Things
    theirs: Things
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def platform(self) -> Platform:
        return self.app.state.platform

    def ask(self, who: str | None, method: str, path: str, **options: Any) -> Any:
        """A request with the key of ``who``; None: without one."""
        headers = dict(options.pop("headers", {}))
        if who is not None:
            headers["authorization"] = f"Bearer {self.secrets.get(who, who)}"
        return self.client.request(method, path, headers=headers, follow_redirects=False, **options)


@contextmanager
def yard(settings: Settings) -> Iterator[Yard]:
    app = create_app(settings)
    mount(app)
    with TestClient(app, base_url="http://yard.example") as client:
        platform: Platform = app.state.platform
        for project in ("ours", "theirs"):
            platform.projects.create(project)
        yard = Yard(app, client, things(platform, "ours"), things(platform, "theirs"))
        yard.secrets = {"home": platform.key} | keys(platform, yard)
        yield yard


def things(platform: Platform, project: str) -> Things:
    """One of each, in rows as the platform makes them."""
    model = f"{project}-model"
    data = f"the bytes of {project}".encode()
    sha256 = hashlib.sha256(data).hexdigest()
    entry = FileEntry(path="model.onnx", size=len(data), sha256=sha256)
    with platform.blobs.referring():  # the janitor of a platform that has just begun is at work
        platform.blobs.put([data], sha256=sha256, size=len(data))
        version, _ = platform.versions.add(
            model, Manifest(files=(entry,)), Analysis(format="onnx", adapter="onnx"), False, project=project
        )
    platform.aliases.move(model, "production", version.number, who="test", why="")
    environment = hashlib.sha256(project.encode()).hexdigest()
    with platform.changes:
        deployment = platform.endpoints.deploy(
            f"{project}-endpoint", model, version.number, DeploymentSettings(), environment
        )
        remote = Remote(url="http://127.0.0.1:9", model="m")
        platform.remotes.put(
            RemoteRoute(endpoint=f"{project}-endpoint", remotes=(remote,)), project=project
        )
    job = platform.jobs.create("nothing", f"{project}-endpoint", ("one",), {"of": project}, project=project)
    upload = platform.uploads.create([entry], project=project, proving=True)
    key, _ = platform.keys.create(f"{project}-spare", project=project, role="viewer")
    return Things(
        project=project,
        model=model,
        endpoint=f"{project}-endpoint",
        job=job.id,
        upload=upload.id,
        deployment=deployment.id,
        key=key.id,
        sha256=sha256,
        environment=environment,
    )


def keys(platform: Platform, yard: Yard) -> dict[str, str]:
    """Secrets by what their keys are."""
    made: dict[str, str] = {}
    for role in ("viewer", "operator", "admin"):
        made[role] = platform.keys.create(f"our-{role}", project="ours", role=role)[1]
    made["predicts"] = platform.keys.create("our-caller", project="ours", role="caller")[1]
    made["other admin"] = platform.keys.create("their-admin", project="theirs", role="admin")[1]
    made["installation"] = platform.keys.create("the-boss", project=None, role="admin")[1]
    made["revoked"] = platform.keys.create("our-former", project="ours", role="admin")[1]
    platform.keys.revoke("our-former")
    made["expired"] = platform.keys.create(
        "our-late", project="ours", role="admin", expires=time.time() + 3600
    )[1]
    with platform.database.begin() as session:
        late = tables.api_keys.c.name == "our-late"
        session.execute(update(tables.api_keys).where(late).values(expires=time.time() - 1))
    made["wrong"] = re.sub(r"_[^_]{5}", "_wrong", made["admin"][:20]) + made["admin"][20:]
    return made


def projects(platform: Platform) -> Projects:
    return platform.projects
