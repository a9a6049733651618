"""A mirror: files of catalog entries in one place, whole or not there, looked into before anything is fetched.

```
MIRROR/modelyard-mirror.json     says that this is one (a folder needs none)
MIRROR/NAME/…                    the files of the entry NAME
MIRROR/NAME.manifest.json        path, size and SHA-256 of each, written last: without it they are not whole
```

The same in a folder (``folder.py``), a bucket (``bucket.py``) and behind a web server (``web.py``, read alone).
"""

from modelyard.pipeline.mirror.manifest import EntryManifest, WritablePlace
from modelyard.pipeline.mirror.mirror import bring, place_at, prepare

__all__ = ["EntryManifest", "WritablePlace", "bring", "place_at", "prepare"]
