"""What a deployment asks of a node: the pool of its replicas."""

import msgspec

from modelyard.core.deployment import Deployment, Leave
from modelyard.core.model import Version
from modelyard.core.routes import ExecutorSpec, Pool


def pool_of(
    version: Version, deployment: Deployment, environment_python: str, files: str, *, by_trust: bool
) -> Pool:
    """The pool of ``deployment``: a function of immutable values alone.

    ``environment_python`` is the interpreter of the deployment's environment and ``files`` the folder
    in which the version lies, both absolute; ``by_trust`` says that trust let it in. Equal arguments give an equal pool for as long as the
    deployment lives, because a node takes a changed pool for a new one and starts its replicas again.
    So a signature that was learnt only from a running executor is left out: the executor tells it.
    """
    analysis = version.analysis
    known = analysis.options.get("signature") is not None
    return Pool(
        deployment=deployment.id,
        endpoint=deployment.endpoint,
        model=version.model,
        version=version.number,
        digest=version.digest,
        executor=ExecutorSpec(
            python=environment_python,
            adapter=analysis.adapter,
            files=files,
            options=analysis.options,
            trusted=version.trusted,
            sandboxed=by_trust,
        ),
        replicas=deployment.settings.replicas,
        resources=deployment.settings.resources,
        scaling=deployment.settings.scaling,
        serving=deployment.settings.serving,
        leave=_leave(deployment.settings.leave, version, by_trust),
        memory=analysis.memory_bytes.high if analysis.memory_bytes is not None else None,
        signature=analysis.signature if known else None,
        example=analysis.example,
    )


def _leave(given: Leave, version: Version, by_trust: bool) -> Leave:
    """Who deploys has the word; where he says nothing of the network, the model's author has it, but for a version
    that trust let in: it would open its sandbox by itself."""
    if given.network is not None:
        return given
    return msgspec.structs.replace(given, network=version.analysis.network and not by_trust)
