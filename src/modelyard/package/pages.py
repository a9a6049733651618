"""Addresses at which there is a page about files, and not a file: known by their form, and told with what to name."""

import re
from urllib.parse import urlsplit

from modelyard.core.addresses import shown
from modelyard.core.errors import InvalidInput

_DRIVE = "A folder or file of Google Drive is shown by a program in a browser."
# host, path -> what it is, and what to do
_PAGES = (
    (r"drive\.google\.com|docs\.google\.com", r"/.*", _DRIVE),
    (r"(www\.)?dropbox\.com", r"/(sh|scl/fo)/.*", "It is a page of Dropbox that shows a folder."),
    (r"[\w-]+\.sharepoint\.com|onedrive\.live\.com|1drv\.ms", r"/.*", "It is a page of OneDrive."),
    (
        r"(www\.|sandbox\.)?zenodo\.org", r"/(records?|deposit)/\d+/?",
        "It is the page of a record of Zenodo, which has one or more files. Name one of them: "
        "https://zenodo.org/records/NUMBER/files/NAME.",
    ),
    (r"(dx\.)?doi\.org", r"/.*", "A DOI leads to a page about files. Name the file that the page offers."),
    (r"(www\.)?figshare\.com", r"/(articles|projects|collections)/.*", "It is a page of figshare. Name a file of it."),
    (
        r"(www\.)?github\.com", r"/[^/]+/[^/]+/((tree|blob|releases/tag)/.*|releases(/latest)?/?)",
        "It is a page of GitHub. Name the file behind its button, or the repository with path and revision.",
    ),
    (
        r"(www\.)?(huggingface\.co|hf\.co)", r"/(?!.*/(resolve|raw)/)[^/]+/[^/]+(/(tree|blob)/.*)?/?",
        "It is a page of the Hugging Face hub. Name the model as hf://OWNER/NAME.",
    ),
)  # fmt: skip

_REPOSITORY = (
    r"(www\.)?(github\.com|gitlab\.com|codeberg\.org|bitbucket\.org)", r"/[^/]+/[^/]+/?",
    "It is a git repository, not a file. Name it as one: git+https://… .",
)  # fmt: skip


def page_at(url: str, *, files: bool = True) -> str | None:
    """A sentence that says which page is at ``url`` and what to name in its place; None where none is known.
    ``files``: a file was meant, and so a repository is a page as well."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return None
    for hosts, path, told in (*_PAGES, _REPOSITORY) if files else _PAGES:
        if re.fullmatch(hosts, host) and re.fullmatch(path, parts.path):
            return told
    return None


def check_no_page(url: str) -> None:
    """Raises InvalidInput for the address of a page."""
    told = page_at(url)
    if told is not None:
        raise InvalidInput(
            f"Nothing can be fetched from {shown(url)}: {told} Or fetch it with a browser, and name the folder.",
            field="source",
        )
