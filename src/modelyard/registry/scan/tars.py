"""Tar archives: links, devices, names that climb, and what is inside. Also PyTorch's oldest form, which is one."""

import tarfile
from typing import Final

from modelyard.registry.scan.reader import Reader
from modelyard.registry.scan.source import Part
from modelyard.registry.scan.view import Report, View
from modelyard.registry.scan.zips import check_names

NAME: Final = "a tar archive"


def looks(view: View) -> bool:
    """By its magic, or in the old form by the checksum of its first header."""
    head = view.head[:512]
    if len(head) < 512:
        return False
    if head[257:262] == b"ustar":
        return True
    try:
        told = int(head[148:156].strip(b" \0") or b"-1", 8)
    except ValueError:
        return False
    return bool(head[:1].strip(b"\0")) and told == sum(head[:148]) + 8 * 32 + sum(head[156:])


def scan(view: View, report: Report) -> None:
    names: list[tuple[str, str]] = []
    reached = 0
    try:
        with tarfile.open(fileobj=Reader(view.source), mode="r:") as tar:  # pyright: ignore[reportArgumentType]
            while (member := tar.next()) is not None:
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  # what the library keeps of each
                kind = "file" if member.isreg() else "folder" if member.isdir() else "device"
                if member.issym() or member.islnk():
                    kind = "link"
                    target = member.linkname
                    if target.startswith("/") or ".." in target.split("/"):
                        report.add("malicious", f"a link that leads outside: {member.name[:100]} to {target[:100]}", member.offset, target)  # fmt: skip
                names.append((member.name, kind))
                report.budget.member()
                if member.issparse():
                    report.add("note", f"a sparse member: {member.name[:200]}")
                if kind == "file":
                    inner = Part(view.source, member.offset_data, min(member.size, view.source.size - member.offset_data))  # fmt: skip
                    if member.offset_data + member.size > view.source.size and not member.issparse():
                        report.add(
                            "unreadable", f"the member {member.name[:200]} breaks off", member.offset
                        )
                    report.look(view.inside(inner, member.name))
                reached = tar.offset
    finally:
        check_names(names, report)
    rest = view.source.read(reached, 512)
    if rest.strip(b"\0"):
        report.add(
            "unreadable", "a tar archive that breaks off, or is damaged, between two members", reached
        )
