"""What a global that a file names means: it makes data, it is code, or it reaches for the system."""

import re
from typing import Final, Literal

Reach = Literal["data", "code", "system"]

# Whole packages of which a model needs nothing, and an attack everything.
_SYSTEM: Final = frozenset(
    {
        "os",
        "posix",
        "nt",
        "posixpath",
        "ntpath",
        "subprocess",
        "_posixsubprocess",
        "sys",
        "socket",
        "_socket",
        "ssl",
    }
    | {
        "shutil",
        "pty",
        "tty",
        "commands",
        "importlib",
        "_frozen_importlib",
        "_frozen_importlib_external",
        "imp",
    }
    | {
        "runpy",
        "ctypes",
        "_ctypes",
        "cffi",
        "webbrowser",
        "code",
        "codeop",
        "_pyrepl",
        "pip",
        "ensurepip",
        "venv",
    }
    | {
        "multiprocessing",
        "_multiprocessing",
        "asyncio",
        "concurrent",
        "threading",
        "_thread",
        "signal",
        "fcntl",
    }
    | {
        "http",
        "urllib",
        "urllib2",
        "urllib3",
        "requests",
        "httpx",
        "aiohttp",
        "ftplib",
        "smtplib",
        "telnetlib",
    }
    | {
        "poplib",
        "imaplib",
        "nntplib",
        "xmlrpc",
        "socketserver",
        "paramiko",
        "pdb",
        "bdb",
        "timeit",
        "cProfile",
    }
    | {
        "profile",
        "trace",
        "doctest",
        "idlelib",
        "pydoc",
        "distutils",
        "setuptools",
        "pkgutil",
        "zipimport",
        "site",
    }
    | {"marshal", "mmap", "resource", "tempfile", "glob", "fileinput", "linecache", "antigravity", "this"}
    | {
        "test",
        "unittest",
        "lib2to3",
        "wsgiref",
        "cgitb",
        "readline",
        "rlcompleter",
        "pexpect",
        "atexit",
        "gc",
    }
    | {"_pickle", "pickle", "shelve", "dbm", "sqlite3", "uuid._uuid", "platform", "nturl2path"}
)
_CALLS: Final = {
    "builtins": {"eval", "exec", "compile", "__import__", "open", "breakpoint", "input", "globals", "locals", "vars"}
    | {"delattr", "setattr", "memoryview", "help", "exit", "quit"},
    "numpy.testing._private.utils": {"runstring"},
    "numpy": {"load", "loadtxt", "fromfile", "memmap", "save", "savetxt", "genfromtxt"},
    "numpy.f2py": {"compile"},
    "torch": {"load", "save"},
    "torch.serialization": {"load", "save"},
    "torch.hub": {"load", "download_url_to_file", "load_state_dict_from_url"},
    "torch.jit": {"load", "save"},
    "joblib": {"load", "dump"},
    "dill": {"load", "loads"},
    "cloudpickle": {"load", "loads"},
    "pandas": {"read_pickle", "eval"},
    "pandas.io.pickle": {"read_pickle"},
    "types": {"FunctionType", "CodeType", "LambdaType"},
    "io": {"open", "FileIO", "open_code"},
    "_io": {"open", "FileIO", "open_code"},
    "codecs": {"open"},
    "nltk.downloader": {"download"},
}  # fmt: skip
_CALLS["__builtin__"] = _CALLS["builtins"] | {"execfile", "file", "raw_input", "reload"}
# A way through attributes that no class of a model lies at the end of.
_WAYS: Final = re.compile(
    r"__(globals|builtins|subclasses|import|loader|spec|code|mro|bases|class|self|dict|getattribute|reduce\w*)__"
)
_DATA: Final = re.compile(
    r"""
    numpy(\._?core)?(\.(multiarray|numeric))?\.(_reconstruct|scalar|_frombuffer|ndarray|dtype|matrix)
    | numpy\.(bool_?|u?int(8|16|32|64|p|c)?|intc|longlong|ulonglong|float(16|32|64|128)?|complex(64|128|256)?|str_|bytes_
        |void|longdouble|half|single|double|datetime64|timedelta64)
    | numpy\.dtypes\.\w+DType | numpy\.ma\.core\.(_mareconstruct|MaskedArray)
    | collections\.(OrderedDict|defaultdict|deque|Counter)
    | (builtins|__builtin__)\.(set|frozenset|list|dict|tuple|int|long|float|bool|complex|str|unicode|bytes|bytearray
        |slice|range|xrange|object)
    | _codecs\.encode | copy_?reg\.(_reconstructor|__newobj__)
    | datetime\.(datetime|date|time|timedelta|timezone) | decimal\.Decimal | fractions\.Fraction
    | torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state|qtensor|sparse_tensor|meta_tensor_no_storage)
    | torch\._tensor\._rebuild_from_type_v2
    | torch\.([A-Z]\w*Storage|storage\.(UntypedStorage|TypedStorage|_?\w*Storage)|Size|device|Tensor|dtype
        |nn\.parameter\.Parameter)
    | torch\.(bfloat16|bool|half|double|long|short|(float|int|uint|qint|quint|complex)\d+(_\w+)?|per_tensor_affine
        |per_channel_affine|strided|sparse_coo)
    | torch\.serialization\._get_layout
    | joblib\.numpy_pickle\.(NumpyArrayWrapper|NDArrayWrapper)
    """,
    re.VERBOSE,
)
# In TorchScript alone, where these names are not Python's.
_SCRIPT: Final = re.compile(
    r"__torch__\..*|torch\.jit\._pickle\.\w+|torch\.(ScriptObject|RRef)|__torch_package__\..*"
)


def reach(module: str, name: str, *, script: bool = False) -> Reach:
    """What ``module.name`` is. ``script``: named in a TorchScript archive."""
    path = f"{module}.{name}"
    if script and _SCRIPT.fullmatch(path):
        return "data"
    if _WAYS.search(path) and not path.startswith(("copyreg.__newobj__", "copy_reg.__newobj__")):
        return "system"
    if module.split(".", 1)[0] in _SYSTEM or name.split(".", 1)[0] in _CALLS.get(module, ()):
        return "system"
    # By attributes of modules to what they have imported: logging's os.system, for example.
    if any(part in _SYSTEM for part in name.split(".")[:-1]):
        return "system"
    return "data" if _DATA.fullmatch(path) else "code"


def root_is_system(name: str) -> bool:
    """Whether a package of this name is one that no model needs."""
    return name in _SYSTEM
