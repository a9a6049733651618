"""What a model's code may touch: put on by the executor itself, before anything of a model or of its packages runs.

Files are held by Landlock (landlock(7)), the network by a seccomp filter that refuses every socket but those of
this machine's files (seccomp(2); UDP and raw sockets too, which Landlock does not know), signals and abstract
sockets by Landlock's scopes, and what root may do beside its files by capabilities(7). None of it needs
privileges, all of it holds for whatever this process starts, and nothing takes it off again.

What a kernel lacks is not held: :func:`enter` says what is.
"""

import ctypes
import errno
import os
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from .adapter import LoadError

# linux/landlock.h: rights of the file system by the version of the interface that knows them first.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_DEVICES = 1 << 6 | 1 << 11
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_KNOWN = {1: (1 << 13) - 1, 2: _REFER, 3: _TRUNCATE, 5: _IOCTL}
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL  # those that a file can have
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_TCP = 3  # bind, connect; from version 4
_SCOPES = 3  # abstract sockets, signals; from version 6
_O_PATH: int = getattr(os, "O_PATH", 0o10000000)  # which PyPy does not name
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446

# What any program of this machine needs; places that hold users' data are not among them.
_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/proc",
    "/sys",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/shm")
_ACCELERATORS = ("nvidia*", "dri", "kfd", "dxg", "infiniband")
# Of /etc what root's programs need: root could read all of it, keys and passwords too.
_ETC = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "passwd", "group", "nsswitch.conf", "hosts",
    "host.conf", "hostname", "resolv.conf", "gai.conf", "protocols", "services", "localtime", "timezone",
    "locale.alias", "locale.conf", "default/locale", "ssl/certs", "ssl/cert.pem", "ssl/openssl.cnf",
    "ca-certificates", "pki/tls", "pki/ca-trust", "crypto-policies", "gss", "fonts", "mime.types", "magic",
    "OpenCL", "vulkan", "glvnd", "egl", "nvidia", "alternatives", "os-release", "lsb-release", "debian_version",
    "machine-id", "terminfo", "inputrc", "profile", "profile.d", "bash.bashrc", "R", "perl", "java-8-openjdk",
    "java-11-openjdk", "java-17-openjdk", "java-21-openjdk", "java-25-openjdk", "ImageMagick-6", "ImageMagick-7",
    "openmpi", "matplotlibrc", "numba",
)  # fmt: skip

# Architectures of a machine: its number (linux/audit.h), socket(2), and calls that are refused because they make
# sockets in ways that a filter cannot look into: socketcall(2), io_uring(7), 32-bit socket(2) of x86.
_CALLS: Dict[str, Tuple[Tuple[int, Optional[int], Tuple[int, ...]], ...]] = {
    "x86_64": ((0xC000003E, 41, (425,)), (0x40000003, None, (102, 359, 425))),
    "aarch64": ((0xC00000B7, 198, (425,)), (0x40000028, 281, (425,))),
    "riscv64": ((0xC00000F3, 198, (425,)),),
}
_SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277}
_X32 = 0x40000000  # calls of x86-64's other interface begin here
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES

# capabilities(7) that root keeps: those over files, which Landlock holds anyway.
_KEPT = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4  # CHOWN, DAC_OVERRIDE, FOWNER, FSETID

_NO_NETWORK = (
    "it has no leave to use the network (say network: true in its model.yaml, or deploy it with --network)"
)
_NO_NETWORK_BY_TRUST = "it has no leave to use the network (deploy it with --network)"
NO_FILES = (
    "it may write into its own working folder alone, and read the system, its environment and its own files (deploy "
    "it with --folder /a/folder to let it read one, with --folder /a/folder:rw to let it write there)"
)

_held: Dict[str, str] = {}
_by_trust = False
_packages = False


def join(groups: Iterable[int]) -> None:
    """Go into control groups by descriptors of their lists of members, which are closed. Raises LoadError.

    The process does it itself, with its one thread: that costs microseconds, where being moved by another
    process waits for every processor.
    """
    for group in groups:
        try:
            os.write(group, b"0")
        except OSError as error:
            raise LoadError("it could not be put under its limits: %s" % error) from error
        finally:
            os.close(group)


def packages() -> None:
    """Make the environment's packages importable: an executor is started without them (``-S``), because a package
    may run code as soon as its environment is looked at (site.py, ``.pth`` files)."""
    global _packages
    if sys.flags.no_site and not _packages:
        import site

        site.main()
    _packages = True


def enter(asked: Mapping[str, Any], device: str = "cpu") -> Dict[str, str]:
    """Confine this process and all that it will start; what holds, by mechanism.

    ``asked`` has ``required``, ``trusted`` (trust let its files in), ``network`` (whether it may be used), ``read`` and
    ``write`` (paths). The answer has ``files``, ``modes`` (owners, times and the like of files too), ``network`` and
    ``signals``; what is not held is not in it, a network that may be used neither.
    Raises LoadError where files or the network cannot be held whole and it is ``required`` or ``trusted``. May be called
    again, for less.
    """
    global _by_trust
    held: Dict[str, str] = {}
    _by_trust = bool(asked.get("trusted"))
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.syscall.restype = ctypes.c_long
        network = bool(asked["network"])
        if "modes" in _held or _freeze(libc, asked["write"]):
            held["modes"] = "mounts"
        version = _landlock(libc, asked, device)
        if version:
            # A mount that is read-only has nothing truncated either.
            whole = version >= 3 or "modes" in held
            held["files"] = "Landlock %d%s" % (version, "" if whole else ", all but truncate(2)")
            if version >= 6:
                held["signals"] = "Landlock %d" % version
        if not network:
            if _refuse_sockets(libc):
                held["network"] = "seccomp"
            elif version >= 4:
                held["network"] = "Landlock %d, TCP alone" % version
    lacking = _lacking(held, bool(asked["network"]))
    if lacking:
        if asked["required"] or _by_trust:
            raise LoadError(_refusal(lacking))
        print("modelyard_executor: this machine cannot hold its %s" % ", ".join(lacking), file=sys.stderr)
    _held.clear()
    _held.update(held)
    return held


def _lacking(held: Mapping[str, str], network: bool) -> List[str]:
    """What of files and the network is not held, or not whole; in words."""
    lacking: List[str] = []
    if "files" not in held:
        lacking.append("files")
    elif "all but" in held["files"]:
        lacking.append("files whole (truncate(2) is free)")
    if not network and "network" not in held:
        lacking.append("network")
    elif "alone" in held.get("network", ""):
        lacking.append("network whole (UDP is free)")
    return lacking


def _refusal(lacking: Iterable[str]) -> str:
    """Why it is not run here, and what to do."""
    why, then = (
        (
            "a version that was let in by trust runs only where it is confined",
            "Serve it on such a machine, or save it in a format that cannot execute; whoever runs the platform can set "
            "confine = 'off', which lets it run with nothing held",
        )
        if _by_trust
        else ("the setting confine is 'required'", "With confine = 'auto' it runs with what there is")
    )
    return (
        "this machine cannot confine it: it cannot hold its %s, and %s. Files need Landlock in the kernel's list of "
        "security modules (Linux 6.2; where the platform is root 5.13), the network seccomp (x86-64, ARM64 or RISC-V). %s"
        % (" and ".join(lacking), why, then)
    )


def hint(error: "BaseException | str") -> str:
    """What to do about an error of a model that was refused something, to be put behind it; or nothing."""
    if not _held:
        return ""
    no_network = _NO_NETWORK_BY_TRUST if _by_trust else _NO_NETWORK
    if isinstance(error, str):
        text = error.lower()
        if "network" in _held and any(sign in text for sign in _RESOLVER):
            return "; " + no_network
        if "permission denied" in text or "read-only file system" in text:
            return "; " + NO_FILES + (", and " + no_network if "network" in _held else "")
        return ""
    seen: List[BaseException] = []
    link: Optional[BaseException] = error
    while link is not None and link not in seen and len(seen) < 20:
        seen.append(link)
        if isinstance(link, socket.gaierror) and "network" in _held:
            return "; " + no_network
        if isinstance(link, OSError) and link.errno in (errno.EACCES, errno.EROFS):
            if link.filename is not None:
                return "; " + NO_FILES if "files" in _held else ""
            return "; " + no_network if "network" in _held else ""
        link = link.__cause__ or link.__context__
    return ""


_RESOLVER = ("name resolution", "name or service not known", "could not resolve", "network is unreachable")


# --- files


def _landlock(libc: Any, asked: Mapping[str, Any], device: str) -> int:
    """Restrict files and scopes; the version of the interface, 0 where there is none."""
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return 0
    rights = 0
    for since, known in _KNOWN.items():
        rights |= known if version >= since else 0
    fields = [rights]
    if version >= 4:
        fields.append(0 if asked["network"] else _TCP)
    if version >= 6:
        fields.append(_SCOPES)
    attributes = struct.pack("=%dQ" % len(fields), *fields)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return 0
    try:
        for path in _readable(asked):
            _allow(libc, ruleset, path, rights & _READ)
        for path in asked["write"]:
            _allow(libc, ruleset, path, rights & ~_MAKE_DEVICES)
        for path in _devices(device):
            _allow(libc, ruleset, path, rights & ~_MAKE_DEVICES & ~_EXECUTE)
        _without_privileges(libc)
        done = libc.syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return int(version) if done == 0 else 0


def _allow(libc: Any, ruleset: int, path: str, rights: int) -> None:
    """Allow ``rights`` at and below ``path``; a path that is not there needs no leave."""
    try:
        place = os.open(path, _O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def _readable(asked: Mapping[str, Any]) -> List[str]:
    """The system, the interpreter, this package, programs and libraries by their variables, and what is asked."""
    paths = list(_SYSTEM)
    paths += ["/etc"] if os.geteuid() else ["/etc/" + name for name in _ETC]
    paths += [
        os.path.realpath(sys.executable),
        str(Path(os.__file__).parent),
        str(Path(__file__).resolve().parent),
    ]
    places = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix]
    for name in ("PATH", "LD_LIBRARY_PATH"):
        places += os.environ.get(name, "").split(os.pathsep)
    own = "".join(asked["write"][:1])
    for place in places:
        # Not one in which the platform's files lie, too.
        if place.startswith("/") and not own.startswith(place.rstrip("/") + "/"):
            paths.append(place)
    if asked["network"]:
        paths.append(os.path.realpath("/etc/resolv.conf"))
    paths += asked["read"]
    return [path for path in dict.fromkeys(paths) if path != "/"]


def _devices(device: str) -> List[str]:
    paths: List[str] = list(_DEVICES)
    if device != "cpu":
        for pattern in _ACCELERATORS:
            paths += map(str, Path("/dev").glob(pattern))
    return paths


def _freeze(libc: Any, writable: Iterable[str]) -> bool:
    """Make all other mounts read-only for this process: Landlock does not know of modes, owners, times and
    attributes of files, which their owner could change. Only root can (mount_namespaces(7), mount_setattr(2))."""
    if os.geteuid() or libc.unshare(0x20000) != 0:  # CLONE_NEWNS
        return False
    private, read_only, writing = (
        struct.pack("=4Q", *each) for each in ((0, 0, 1 << 18, 0), (1, 0, 0, 0), (0, 1, 0, 0))
    )
    here, whole = -100, 0x8000  # AT_FDCWD, AT_RECURSIVE
    paths = [os.fsencode(path) for path in writable if Path(path).exists()]

    def change(path: bytes, flags: int, attributes: bytes) -> bool:
        return bool(libc.syscall(442, here, path, flags, attributes, ctypes.c_size_t(len(attributes))) == 0)

    if not change(b"/", whole, private):
        return False
    for path in paths:
        if libc.mount(path, path, None, ctypes.c_ulong(0x1000 | 0x4000), None) != 0:  # MS_BIND | MS_REC
            return False
    if Path("/dev/shm").is_dir():
        libc.mount(
            b"shm", b"/dev/shm", b"tmpfs", ctypes.c_ulong(2 | 4), None
        )  # its own; MS_NOSUID | MS_NODEV
        paths.append(b"/dev/shm")
    if not change(b"/", whole, read_only):
        return False
    opened = [change(path, whole, writing) for path in paths]
    os.chdir(Path.cwd())  # into the mount that may be written
    return all(opened)


# --- the network, and privileges


def _without_privileges(libc: Any) -> None:
    """No program that this process starts has more rights than it (prctl(2), PR_SET_NO_NEW_PRIVS), and root's own
    are those over files."""
    libc.prctl(38, 1, 0, 0, 0)
    head = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    had = ctypes.create_string_buffer(24)
    if libc.capget(head, had) == 0:
        effective, permitted, _, more_effective, more_permitted, _ = struct.unpack("=6I", had.raw)
        if (effective | permitted) & ~_KEPT or more_effective | more_permitted:
            libc.capset(head, struct.pack("=6I", effective & _KEPT, permitted & _KEPT, 0, 0, 0, 0))


def _refuse_sockets(libc: Any) -> bool:
    """Have the kernel refuse sockets that lead out of this machine, or to its programs by a port: all but those of
    AF_UNIX and AF_NETLINK (which tells of the machine's interfaces)."""
    machine = os.uname().machine
    if machine not in _CALLS:
        return False
    _without_privileges(libc)
    program = _filter(machine)
    code = ctypes.create_string_buffer(b"".join(program))
    told = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    # Flag 4 (SPEC_ALLOW): older kernels would slow the whole process down beside it.
    return any(libc.syscall(_SECCOMP[machine], 1, flags, told) == 0 for flags in (4, 0))


def _filter(machine: str) -> List[bytes]:
    """The filter as instructions of classic BPF (linux/filter.h) over seccomp_data: call at 0, architecture at 4,
    first argument at 16."""
    load, equal, above, answer = 0x20, 0x15, 0x35, 0x06

    def code(operation: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("=HBBI", operation, yes, no, value)

    program: List[bytes] = []
    for architecture, call, refused in _CALLS[machine]:
        block = [code(load, 0)]
        if architecture == 0xC000003E:
            block += [code(above, _X32, 0, 1), code(answer, _REFUSE)]
        for number in refused:
            block += [code(equal, number, 0, 1), code(answer, _REFUSE)]
        if call is not None:
            block += [code(equal, call, 1, 0), code(answer, _ALLOW), code(load, 16)]
            for family in (socket.AF_UNIX, socket.AF_NETLINK):
                block += [code(equal, family, 0, 1), code(answer, _ALLOW)]
            block += [code(answer, _REFUSE)]
        else:
            block += [code(answer, _ALLOW)]
        program += [code(load, 4), code(equal, architecture, 0, len(block)), *block]
    return [*program, code(answer, _ALLOW)]
