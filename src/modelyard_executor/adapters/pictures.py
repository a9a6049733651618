"""Images as the numbers that a model reads. An environment needs ``pillow`` for it."""

import io
from typing import Any

from ..adapter import InvalidInput

_MOST = 100_000_000  # pixels; beyond, a small file may be a bomb


def read_picture(data: bytes, field: str) -> Any:
    """The image in RGB, turned as its EXIF says, as Pillow has it. Raises InvalidInput (``field``)."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > _MOST:
                raise InvalidInput(
                    field, "The image has %d x %d pixels; at most %d are read." % (width, height, _MOST)
                )
            return ImageOps.exif_transpose(image).convert("RGB")
    except InvalidInput:
        raise
    except Exception as error:  # Pillow's readers raise whatever they meet
        raise InvalidInput(field, "This is not an image that can be read: %s" % error) from None
