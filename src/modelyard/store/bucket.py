"""A bucket as the place of packs: S3 and what speaks its protocol, Google Cloud Storage, Azure.

Who we are and where it is, the environment says, as for the clouds' own tools: ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT_URL`` (or a role's); ``GOOGLE_SERVICE_ACCOUNT``;
``AZURE_STORAGE_ACCOUNT_NAME``, ``AZURE_STORAGE_ACCOUNT_KEY``. Nothing of it is kept or told.
"""

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from modelyard.core.errors import InvalidInput
from modelyard.host.network import is_loopback
from modelyard.store.place import Place

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

SCHEMES: Final = ("s3", "gs", "az")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_RETRIES: Final[int] = 5
_PATIENCE: Final = timedelta(minutes=2)
_TIMEOUT: Final = timedelta(minutes=10)


def open_bucket(address: str) -> Place:
    """The place at ``s3://bucket/prefix`` (``gs://``, ``az://container``).

    Nothing is asked yet. Raises InvalidInput for an address or variables that cannot be.
    """
    scheme, _, rest = address.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme not in SCHEMES or not _NAME.fullmatch(bucket):
        raise InvalidInput(
            f"{address[:100]!r} names no bucket for blobs: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or "
            "az://CONTAINER/PREFIX.",
            field="blobs",
        )
    plain = scheme == "s3" and may_be_plain()
    client: ClientConfig = {
        "allow_http": plain,
        "timeout": _TIMEOUT,
        "connect_timeout": timedelta(seconds=10),
    }
    retry: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": _PATIENCE}
    below = prefix.strip("/") or None
    try:
        if scheme == "s3":
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
            store = S3Store(bucket, prefix=below, region=region, client_options=client, retry_config=retry)
        elif scheme == "gs":
            store = GCSStore(bucket, prefix=below, client_options=client, retry_config=retry)
        else:
            store = AzureStore(bucket, prefix=below, client_options=client, retry_config=retry)
    except BaseError as error:
        said = str(error).partition("Debug source")[0].strip()
        raise InvalidInput(
            f"The bucket {address!r} cannot be used with what the environment says: {said[:300]}",
            field="blobs",
        ) from error
    return Place(store, address.rstrip("/"))


def may_be_plain() -> bool:
    """Whether a server of S3 may be spoken to without TLS: on this machine, or where somebody said so.

    Raises InvalidInput for one elsewhere.
    """
    variables = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    endpoint = next((os.environ[name] for name in variables if os.environ.get(name)), "")
    if not endpoint.lower().startswith("http://"):
        return False
    allowed = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
    if allowed or is_loopback(urlsplit(endpoint).hostname or ""):
        return True
    raise InvalidInput(
        "AWS_ENDPOINT_URL is not encrypted. Set it to https://, or AWS_ALLOW_HTTP=true where nobody sits between.",
        field="AWS_ENDPOINT_URL",
    )
