"""A bucket as the place of packs: S3 and what speaks its protocol, Google Cloud Storage, Azure."""

from modelyard.store.clouds import connect, parse_bucket
from modelyard.store.place import Place


def open_bucket(address: str) -> Place:
    """The place at ``s3://bucket/prefix`` (``gs://``, ``az://container``).

    Nothing is asked yet. Raises InvalidInput for an address or variables that cannot be.
    """
    name = parse_bucket(address, field="blobs")
    return Place(connect(name, below=True, field="blobs"), name.address)
