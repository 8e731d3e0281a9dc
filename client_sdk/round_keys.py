"""The private keys of attempts under way: in memory, or on a memory disk, and nowhere else (protocol 5.3).

Rules:
1. A key lies on a memory disk ($XDG_RUNTIME_DIR or /dev/shm), mode 0600: a process that dies finds it again, a
   machine that reboots does not, and no backup ever holds it. Without a memory disk it lives in memory alone.
2. `claim` takes the key away for good, and only one process can: of two copies of a folder one opens at most.
3. It is wiped at the opening or at the deadline.
Overwriting before unlinking is best effort: a memory disk may be swapped out.
"""

from __future__ import annotations

import os
import stat
from hashlib import sha256
from pathlib import Path

from client_sdk.durable import make_folder, room_for
from privacy.errors import ConfigurationError
from privacy.he.boxes import BoxKey


def memory_disk() -> Path | None:
    """The memory disk of this user, or None."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    for candidate in ([Path(runtime)] if runtime else []) + [Path("/dev/shm")]:  # noqa: S108 - memory, not disk
        if candidate.is_dir() and os.access(candidate, os.W_OK | os.X_OK):
            return candidate
    return None


class RoundKeys:
    """The keys of one partner's attempts, by round digest R (hex).

    `owner`: bytes that name the partner (its public signing key), so that partners on one machine keep apart.
    """

    def __init__(self, owner: bytes, disk: Path | None) -> None:
        self._memory: dict[str, BoxKey] = {}
        self._folder: Path | None = None
        if disk is not None:
            name = sha256(b"chorale/1 round keys" + owner).hexdigest()[:32]
            # Separate users may share /dev/shm; each owns its folder.
            self._folder = _own_folder(_own_folder(disk / f"chorale-{os.getuid()}") / name)

    @property
    def outlive_the_process(self) -> bool:
        """Whether another process, of another copy of the partner's folder, could find these keys."""
        return self._folder is not None

    def keep(self, round_digest: str, key: BoxKey) -> None:
        """Before the join that names it is signed. Raises StorageFull."""
        if self._folder is None:
            self._memory[round_digest] = key
            return
        # Whole or absent: a process may die between two bytes.
        partial = self._folder / f"{round_digest}.part"
        with room_for(partial):
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(key.private_bytes)
            os.replace(partial, self._folder / round_digest)

    def find(self, round_digest: str) -> BoxKey | None:
        """The key, or None after a reboot, an opening or the deadline."""
        if self._folder is None:
            return self._memory.get(round_digest)
        try:
            encoded = (self._folder / round_digest).read_bytes()
        except FileNotFoundError:
            return None
        return BoxKey.from_private_bytes(encoded)

    def claim(self, round_digest: str) -> bool:
        """Wipe the key; whether it was there to be wiped, by this process and no other."""
        if self._folder is None:
            held = self._memory.pop(round_digest, None)
            if held is not None:
                held.wipe()
            return held is not None
        path = self._folder / round_digest
        claimed = path.with_name(f"{round_digest}.claimed-{os.getpid()}")
        try:
            os.rename(path, claimed)
        except FileNotFoundError:
            return False
        _shred(claimed)
        return True

    def wipe_all_but(self, open_rounds: set[str]) -> None:
        """Wipe the keys of attempts that are over."""
        known = set(self._memory)
        if self._folder is not None:
            for path in self._folder.iterdir():
                if "." in path.name:  # what a process left that died while it wrote or wiped
                    _shred(path)
                else:
                    known.add(path.name)
        for round_digest in known - open_rounds:
            self.claim(round_digest)

    def __repr__(self) -> str:
        return "RoundKeys(<withheld>)"


def _own_folder(path: Path) -> Path:
    """A folder of this user alone; anyone may have made one of this name in /dev/shm before."""
    found = make_folder(path).lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigurationError(
            f"a folder of this user alone at {path}, for keys",
            f"one of user {found.st_uid}, mode {stat.S_IMODE(found.st_mode):03o}",
            "remove it, or set XDG_RUNTIME_DIR to this user's own",
        )
    return path


def _shred(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    path.unlink()
