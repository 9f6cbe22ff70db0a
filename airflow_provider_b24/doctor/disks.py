"""Whether a folder outlives the machine's next start, or its container."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_IN_MEMORY = ("tmpfs", "ramfs")
_OF_A_CONTAINER = ("overlay", "aufs", "fuse.fuse-overlayfs")


def why_it_does_not_last(folder: Path) -> str | None:
    """Say why files in a folder are lost with a restart.

    :param folder: need not be there yet.
    :return: ``None`` where no reason is known; only Linux tells of memory and containers.
    """
    folder = folder.resolve()
    if folder.is_relative_to(Path(tempfile.gettempdir()).resolve()):
        return "it is among the temporary files of this machine"
    try:
        mounts = _MOUNTS.read_text()
    except OSError:
        return None
    kind = file_system_of(folder, mounts)
    if kind in _IN_MEMORY:
        return f"it is in memory ({kind})"
    if kind in _OF_A_CONTAINER:
        return f"it belongs to this container ({kind}), and goes with it"
    return None


def file_system_of(folder: Path, mounts: str) -> str | None:
    """Name the kind of file system that a folder is in.

    :param folder: an absolute path without links.
    :param mounts: text of ``/proc/self/mountinfo``. The last of those mounted at one place counts.

    Source: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
    """
    found: tuple[int, str] | None = None
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        place = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        if folder.is_relative_to(place):
            depth = len(place.parts)
            if found is None or depth >= found[0]:
                found = depth, after.split(" ", 1)[0]
    return found and found[1]
