"""The clouds that keep buckets: S3 and what speaks its protocol, Google Cloud Storage, Azure; how each is reached.

Who we are and where it is, the environment says, as for the clouds' own tools:

s3   ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION`` (or a role's); ``AWS_ENDPOINT_URL``
gs   ``GOOGLE_APPLICATION_CREDENTIALS`` or ``GOOGLE_SERVICE_ACCOUNT`` (or the machine's own account);
     ``GOOGLE_BASE_URL``, or ``STORAGE_EMULATOR_HOST``, which asks for no credentials
az   ``AZURE_STORAGE_ACCOUNT_NAME`` with ``AZURE_STORAGE_ACCOUNT_KEY`` (or a token, a principal), or all of it in
     ``AZURE_STORAGE_CONNECTION_STRING``; ``AZURE_STORAGE_ENDPOINT``

Nothing of it is kept or told.
"""

import json
import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from modelyard.core.errors import Forbidden, InvalidInput, Unavailable
from modelyard.host.network import is_loopback

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, ObjectStore, RetryConfig

RETRIES: Final[int] = 5
_PATIENCE: Final = timedelta(minutes=2)
_TIMEOUT: Final = timedelta(minutes=10)
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")


class Cloud(NamedTuple):
    """``tells``: the variables that say who we are and where it is, for people. ``endpoints``: those that name a server, the
    strongest first. ``plain``: the one by which it may be spoken to without TLS, wherever it is."""

    tells: str
    endpoints: tuple[str, ...]
    plain: str


CLOUDS: Final = {
    "s3": Cloud(
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL",
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        "AWS_ALLOW_HTTP",
    ),
    "gs": Cloud(
        "GOOGLE_APPLICATION_CREDENTIALS and GOOGLE_BASE_URL",
        ("GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST"),
        "GOOGLE_ALLOW_HTTP",
    ),
    "az": Cloud(
        "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY (or AZURE_STORAGE_CONNECTION_STRING), and "
        "AZURE_STORAGE_ENDPOINT",
        ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        "AZURE_ALLOW_HTTP",
    ),
}


class BucketName(NamedTuple):
    """``scheme://bucket/prefix``; the prefix may be empty, and has no slash at its ends."""

    scheme: str
    bucket: str
    prefix: str

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


def is_bucket(address: str) -> bool:
    """Whether ``address`` names a bucket or what is in one."""
    return address.partition("://")[0] in CLOUDS and "://" in address


def parse_bucket(address: str, *, field: str) -> BucketName:
    """What ``address`` names. Raises InvalidInput about ``field`` for one that names no bucket, or carries more than a name."""
    scheme, _, rest = address.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme not in CLOUDS or not _BUCKET.fullmatch(bucket) or "?" in prefix or "#" in prefix:
        raise InvalidInput(
            "A bucket is named as s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX; keys and tokens "
            "stand in the environment's variables, not in the address.",
            field=field,
        )
    return BucketName(scheme, bucket, prefix.strip("/"))


def connect(name: BucketName, *, below: bool, field: str) -> "ObjectStore":
    """The library's store of a bucket, with keys ``below`` the prefix, or those of the whole. Nothing is asked yet.

    Raises InvalidInput for variables that cannot be.
    """
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, S3Store

    scheme, bucket = name.scheme, name.bucket
    prefix = name.prefix or None if below else None
    retry: RetryConfig = {"max_retries": RETRIES, "retry_timeout": _PATIENCE}
    try:
        if scheme == "s3":
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
            client = _client(scheme)
            return S3Store(bucket, prefix=prefix, region=region, client_options=client, retry_config=retry)
        if scheme == "gs":
            google = _google_config()
            client = _client(scheme, google.get("base_url"))
            return GCSStore(bucket, prefix=prefix, config=google, client_options=client, retry_config=retry)
        azure = _azure_config()
        client = _client(scheme, azure.get("endpoint"))
        return AzureStore(bucket, prefix=prefix, config=azure, client_options=client, retry_config=retry)
    except BaseError as error:
        raise InvalidInput(
            f"The bucket {name.address} cannot be used with what the environment says: {why(error)} Look at "
            f"{CLOUDS[scheme].tells}.",
            field=field,
        ) from error


def error_of(error: Exception, address: str, *, retry_after: float) -> Forbidden | Unavailable:
    """The library's ``error`` about the bucket at ``address`` as ours."""
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    tells = CLOUDS[address.partition("://")[0]].tells
    if isinstance(error, PermissionDeniedError | UnauthenticatedError):
        return Forbidden(f"{address} is not given to us: look at {tells}, and at what they may.")
    return Unavailable(
        f"{address} cannot be used: {why(error)} Look at {tells}, and at the bucket's name.",
        retry_after=retry_after,
    )


def why(error: Exception) -> str:
    """The library's words, or those of the server in them, without the request, whose headers and query carry secrets."""
    text = " ".join(str(error).partition("Debug source")[0].split())
    said = re.search(r"<Message>([^<]*?)(?: RequestId:[^<]*)?</Message>", text)
    text = said[1] if said else re.sub(r"(?<=://)[^/@\s]+@|\?\S*", "", text)
    return text[:300].rstrip(".") + "."


def _client(scheme: str, endpoint: str | None = None) -> "ClientConfig":
    """How long requests may take, and whether the server (at ``endpoint``, or where a variable says) may be spoken to
    without TLS: on this machine, or where somebody said so.

    Raises InvalidInput for one elsewhere.
    """
    cloud = CLOUDS[scheme]
    name = next((name for name in cloud.endpoints if os.environ.get(name)), cloud.endpoints[0])
    endpoint = endpoint or os.environ.get(name, "")
    plain = endpoint.lower().startswith("http://")
    allowed = os.environ.get(cloud.plain, "").lower() in ("1", "true")
    if plain and not allowed and not is_loopback(urlsplit(endpoint).hostname or ""):
        raise InvalidInput(
            f"{name} is not encrypted. Set it to https://, or {cloud.plain}=true where nobody sits between.",
            field=name,
        )
    return {"allow_http": plain, "timeout": _TIMEOUT, "connect_timeout": timedelta(seconds=10)}


def _google_config() -> "GCSConfig":
    """What Google's own clients read and the library does not: the server that stands in for the cloud."""
    host = os.environ.get("STORAGE_EMULATOR_HOST", "")
    if not host or os.environ.get("GOOGLE_BASE_URL"):
        return {}
    nobody = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    return {
        "base_url": host if "://" in host else f"http://{host}",
        "service_account_key": json.dumps(nobody),
    }


def _azure_config() -> "AzureConfig":
    """What Azure's own clients read and the library does not: everything in one variable. Others are stronger.

    Raises InvalidInput for one that cannot be.
    """
    given = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    if not given or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"):
        return {}
    pairs = [each.partition("=") for each in given.split(";") if each.strip()]
    told = {key.strip().lower(): value.strip() for key, _, value in pairs}
    account = told.get("accountname")
    endpoint = told.get("blobendpoint")
    if account is None or not all(separator for _, separator, _ in pairs):
        raise InvalidInput(
            "AZURE_STORAGE_CONNECTION_STRING is not of the form AccountName=…;AccountKey=…;EndpointSuffix=….",
            field="AZURE_STORAGE_CONNECTION_STRING",
        )
    if endpoint is None and "endpointsuffix" in told:
        protocol = told.get("defaultendpointsprotocol", "https")
        endpoint = f"{protocol}://{account}.blob.{told['endpointsuffix']}"
    config: AzureConfig = {"account_name": account}
    if "accountkey" in told:
        config["account_key"] = told["accountkey"]
    if "sharedaccesssignature" in told:
        config["sas_key"] = told["sharedaccesssignature"]
    if endpoint is not None:
        config["endpoint"] = endpoint.rstrip("/")
    return config
