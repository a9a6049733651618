"""The one entry: pick the format, let it describe the files, then let model.yaml refine the answer."""

import msgspec

from modelyard.analyze import model_yaml
from modelyard.analyze.formats import pick
from modelyard.analyze.gpu import with_gpu
from modelyard.analyze.licence import with_licence
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis


def analyze(files: Files) -> Analysis:
    """Say what the model in ``files`` is and how to serve it.

    Reads headers only and executes nothing. Raises RejectedContent (``field`` is a path, an input or
    a key of model.yaml) when the files cannot be served, with a sentence that says what they are.
    """
    declared = model_yaml.read(files)
    try:
        analysis = model_yaml.apply(declared, pick(files, declared.adapter).analyze(files))
        analysis = with_gpu(with_licence(files, analysis))
        # Half a surrogate pair in a name, or a number over 64 bits, can be in a file but not in our JSON.
        msgspec.json.encode(analysis)
    except (UnicodeEncodeError, OverflowError) as error:
        raise RejectedContent(
            "The model's files hold a name that is not valid Unicode, or a number that is not possible. Save "
            "the model again."
        ) from error
    return analysis
