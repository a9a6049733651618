"""Programs and libraries: what the machine itself, or Python's loader, would run."""

from typing import Final

from modelyard.registry.scan.view import Report, View

NAME: Final = "a program"
_MAGIC: Final = (
    (b"\x7fELF", "a program or library (ELF)"),
    (b"MZ", "a program or library (Windows)"),
    (b"\xcf\xfa\xed\xfe", "a program or library (macOS)"),
    (b"\xce\xfa\xed\xfe", "a program or library (macOS)"),
    (b"\xca\xfe\xba\xbe", "a program (macOS or Java)"),
)
_LIBRARIES: Final = (".so", ".dll", ".dylib", ".pyd", ".exe", ".pyc", ".class")
NAMES: Final = (*_LIBRARIES, ".py", ".pth", ".sh")


def looks(view: View) -> bool:
    name = view.name.lower()
    return name.endswith(NAMES) or any(view.head.startswith(magic) for magic, _ in _MAGIC)


def scan(view: View, report: Report) -> None:
    name = view.name.lower()
    for magic, what in _MAGIC:
        if view.head.startswith(magic) and (
            magic != b"MZ" or name.endswith(_LIBRARIES) or _is_windows(view)
        ):
            report.add("executes", what, 0)
            return
    if name.endswith((".pyc", ".class")):
        report.add("executes", "compiled code", 0)
    elif name.endswith((".py", ".sh")):
        report.add("note", "a program as text; it runs where something loads it by name")
    elif name.endswith(".pth") and any(
        line.startswith((b"import ", b"import\t")) for line in view.head.splitlines()
    ):
        report.add("executes", "a .pth file that Python would run at its start", 0)


def _is_windows(view: View) -> bool:
    at = int.from_bytes(view.head[60:64], "little")
    return view.source.read(at, 4) == b"PE\0\0"
