"""The folder that a run may write to, and its end, where nobody keeps its size but us."""

from __future__ import annotations

import os
import stat


def measure(folder: str, most_files: int) -> tuple[int, int]:
    """Bytes on disk and files in a folder, itself not counted; counting ends a little after `most_files`."""
    size = count = 0
    folders = [folder]
    while folders and count <= most_files:
        try:
            top = folders.pop()
            _open_up(top)  # a program may close its own folders
            with os.scandir(top) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if count > most_files:
                        break
        except OSError:
            continue  # gone meanwhile
    return size, count


def remove(folder: str) -> None:
    """Removes a folder whose program is gone, however deep and whatever it holds, and follows no link.

    Folders within folders are moved to the top and emptied there, so that no depth is too much.
    """
    number = 0
    _open_up(folder)
    while entries := os.listdir(folder):
        for name in entries:
            path = os.path.join(folder, name)
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                os.unlink(path)
                continue
            _open_up(path)
            for inner in os.listdir(path):
                inside = os.path.join(path, inner)
                if stat.S_ISDIR(os.lstat(inside).st_mode):
                    _open_up(inside)
                    number += 1
                    os.rename(inside, os.path.join(folder, f".{os.getpid()}-{number}"))
                else:
                    os.unlink(inside)
            os.rmdir(path)
    os.rmdir(folder)


def _open_up(folder: str) -> None:
    if os.lstat(folder).st_mode & 0o700 != 0o700:
        os.chmod(folder, 0o700)
