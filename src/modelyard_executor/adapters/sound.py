"""Recordings as numbers: decoded, one channel, at the rate that a model reads.

An environment needs ``soundfile`` and ``soxr`` for it.
"""

import io
from typing import Any

from ..adapter import InvalidInput


def read_sound(data: bytes, rate: int, field: str, *, most: float = 24 * 3600.0) -> Any:
    """The recording as a float32 array (samples,) from -1 to 1, at ``rate`` Hz, its channels averaged.

    Raises InvalidInput (``field``) for what is no recording, has nothing in it, or is longer than ``most``
    seconds.
    """
    import soundfile
    import soxr

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.frames > most * file.samplerate:
                raise InvalidInput(
                    field,
                    "The recording has %.0f seconds; at most %.0f are read."
                    % (file.frames / file.samplerate, most),
                )
            samples, own = file.read(dtype="float32", always_2d=True), file.samplerate
    except soundfile.LibsndfileError as error:
        raise InvalidInput(
            field, "This is not a recording that can be read (WAV, FLAC, OGG, MP3): %s" % error.error_string
        ) from None
    sound = samples.mean(axis=1)
    if not len(sound):
        raise InvalidInput(field, "There is nothing in the recording.")
    return sound if own == rate else soxr.resample(sound, own, rate)
