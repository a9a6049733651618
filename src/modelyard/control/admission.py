"""May he? Who a request is from, by the key that comes with it, and whether the table lets him.

What is of another project is not there: it is answered as what does not exist, in the same words, because for who
sees one project alone both answers are given here, before anything else is looked at.
"""

import hmac
from collections.abc import Mapping

from modelyard.control.access import Row
from modelyard.core.access import Principal
from modelyard.core.errors import Forbidden, ModelyardError, NotFound, Unauthenticated
from modelyard.store.keys import Keys, principal_of
from modelyard.store.projects import Projects, no_project, taken

PROJECT_HEADER = "modelyard-project"


class Admission:
    """``key`` is the home's own, whose owner may everything."""

    def __init__(self, key: str, keys: Keys, projects: Projects) -> None:
        self._key = key.encode()
        self._keys = keys
        self._projects = projects

    def is_home(self, secret: str) -> bool:
        """Whether it is the key of this home."""
        return hmac.compare_digest(secret.encode("utf-8", "surrogatepass"), self._key)

    def by(self, secret: str) -> Principal | None:
        """Who comes with it; None when nobody knows it. Raises Unauthenticated for a key that has ended, and says
        so: who has it knew that there was one."""
        if self.is_home(secret):
            return Principal()
        key = self._keys.known(secret)
        if key is None:
            return None
        if key.revoked is not None:
            raise Unauthenticated(f"The API key {key.name!r} was revoked.", field="authorization")
        if key.over(self._keys.now()):
            raise Unauthenticated(f"The API key {key.name!r} has expired.", field="authorization")
        return principal_of(key)

    def within(self, principal: Principal, project: str | None) -> Principal:
        """``principal``, who names a project to work in (None: none). Raises NotFound for one that he does not see."""
        if project is None or project == principal.project:
            return principal
        if principal.project is not None:
            raise no_project(project)
        return Principal(
            name=principal.name,
            role=principal.role,
            project=self._projects.require(project),
            installation=principal.installation,
        )

    def require(self, principal: Principal, row: Row, named: Mapping[str, str]) -> None:
        """Raises Forbidden when his role is not enough, NotFound for what he does not see, Conflict for a new name
        that is in use where he does not see it."""
        require_role(principal, row)
        if principal.project is None or row.of in ("", "listed", "body"):
            return
        name = next(iter(named.values()), "")
        if (missing := self._hidden(principal, row, name)) is not None:
            raise missing

    def _hidden(self, principal: Principal, row: Row, name: str) -> ModelyardError | None:
        """The answer when what the path names is not there for him."""
        project, projects = principal.project, self._projects
        match row.of:
            case "model" | "new model":
                found = projects.of_model(name)
                missing: ModelyardError = no_model(name)
            case "endpoint" | "new endpoint":
                found = projects.of_endpoint(name)
                missing = no_endpoint(name)
                if principal.endpoints and name not in principal.endpoints:
                    return missing
            case "job":
                found, missing = projects.of_job(name), NotFound(f"There is no job {name!r}.", field="job")
            case "upload":
                found = projects.of_upload(name)
                missing = NotFound(f"There is no upload {name!r}; start a new one.", field="upload")
            case "deployment":
                found = projects.of_deployment(name)
                missing = NotFound(f"There is no deployment {name!r}.", field="deployment")
            case "environment":
                ids = projects.environments(project or "")
                found = project if name in ids else None
                missing = NotFound(f"There is no environment {name!r}.", field="id")
            case "key":
                found = project if self._keys.has(name, project) else None
                missing = NotFound(f"There is no key {name!r}; see: modelyard keys list", field="key")
            case "project":
                found, missing = name, no_project(name)
            case _:
                raise AssertionError(row)
        if found == project:
            return None
        if row.of.startswith("new "):
            return None if found is None else taken(name, row.of.removeprefix("new "))
        return missing

    # --- for what stands in a body or a query

    def see_model(self, principal: Principal, name: str) -> None:
        """Raises NotFound for a model that is not there for him."""
        if principal.project is not None and self._projects.of_model(name) != principal.project:
            raise no_model(name)

    def see_endpoint(self, principal: Principal, name: str) -> None:
        """Raises NotFound for an endpoint that is not there for him."""
        if principal.project is not None and self._projects.of_endpoint(name) != principal.project:
            raise no_endpoint(name)

    def see_upload(self, principal: Principal, id: str) -> None:
        """Raises NotFound for an upload that is not there for him."""
        if principal.project is not None and self._projects.of_upload(id) != principal.project:
            raise NotFound(f"There is no upload {id!r}; start a new one.", field="upload")

    def may_name(
        self, principal: Principal, *, model: str | None = None, endpoint: str | None = None
    ) -> None:
        """Raises Conflict for a name to be given that is in use where he does not see it."""
        for kind, name, of in (
            ("model", model, self._projects.of_model),
            ("endpoint", endpoint, self._projects.of_endpoint),
        ):
            if (
                name is not None
                and principal.project is not None
                and of(name) not in (None, principal.project)
            ):
                raise taken(name, kind)


def require_role(principal: Principal, row: Row) -> None:
    """Raises Forbidden when his role is not the one that an address asks for."""
    if principal.installation or row.needed == "public":
        return
    if row.needed == "installation":
        raise Forbidden(
            f"This is for an admin of the installation; {_told(principal)}.", field="authorization"
        )
    if not principal.may(row.role):
        raise Forbidden(f"This is for {_an(row.role)}; {_told(principal)}.", field="authorization")


def require_more(principal: Principal, what: str, *, installation: bool = False) -> None:
    """Raises Forbidden unless he is an admin, of the project or of all, who alone may ask for ``what``."""
    if principal.installation or (not installation and principal.may("admin")):
        return
    of = "the installation" if installation else "the project"
    raise Forbidden(f"{what} is for an admin of {of}; {_told(principal)}.", field="authorization")


def no_model(name: str) -> NotFound:
    """The error for a model that there is not."""
    return NotFound(f"There is no model {name!r}.", field="model")


def no_endpoint(name: str) -> NotFound:
    """The error for an endpoint that there is not."""
    return NotFound(f"There is no endpoint {name!r}; see: modelyard endpoints", field="endpoint")


def _told(principal: Principal) -> str:
    what = "predicts and nothing else" if principal.role == "caller" else f"is {_an(principal.role)}"
    return f"the key {principal.name!r} {what} in {principal.project!r}"


def _an(role: str) -> str:
    return f"an {role}" if role[0] in "ao" else f"a {role}"
