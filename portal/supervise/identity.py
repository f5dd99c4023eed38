"""Whom a server runs as: PostgreSQL refuses root, and wants a name for its user."""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from portal.supervise import launching
from portal.supervise.errors import Unstartable


@dataclass(frozen=True, slots=True)
class Identity:
    """`uid` None is whoever we are. In a namespace the files belong to whoever we are, whatever `uid` says."""

    uid: int | None = None
    gid: int | None = None
    namespace: bool = False

    @property
    def owner(self) -> int:
        """Who owns, on disk, the files that the child makes."""
        return os.geteuid() if self.uid is None or self.namespace else self.uid

    def own(self, path: Path) -> None:
        """Give `path` and what is in it to this identity. Only root can, and only root has to."""
        if os.geteuid() != 0 or path.lstat().st_uid == self.owner:
            return
        gid = self.gid if self.gid is not None and not self.namespace else -1
        for found in (path, *path.rglob("*")):
            os.chown(found, self.owner, gid, follow_symlinks=False)

    def may(self, program: Path, folder: Path) -> bool:
        """Whether a child of this identity can be started here, run `program` and write into `folder`."""
        check = ["/bin/sh", "-c", 'test -x "$1" && test -w "$2" && "$1" --version', "sh", str(program), str(folder)]
        command = launching.command(check, asdict(self), dies_by=9)
        return subprocess.run(command, capture_output=True, check=False, cwd="/").returncode == 0


OURSELVES = Identity()


def for_postgres(program: Path, data: Path) -> Identity:
    """The identity that shall run `program` on the folder `data`, which it is given."""
    owner = data.stat().st_uid
    candidates = list(_candidates(owner))
    if not candidates:
        raise Unstartable(
            f"{data} belongs to {_name(owner)} and we are {_name(os.geteuid())}: run up as {_name(owner)}, "
            "give the folder to yourself (chown -R), or choose another with --data-dir"
        )
    for identity in candidates:
        identity.own(data)
        if identity.may(program, data):
            return identity
    raise Unstartable(
        f"PostgreSQL refuses to run as {_name(os.geteuid())}, and no other user can both run {program} and write to "
        f"{data}: run up as an ordinary user, choose a folder that others can reach with --data-dir, or set "
        "DATABASE_URL"
    )


def _candidates(owner: int) -> Iterable[Identity]:
    """Who may serve a folder of `owner`, best first; nobody when it is a stranger's."""
    us = os.geteuid()
    if us != 0:
        if owner == us:
            yield OURSELVES if _named(us) else _masked()
        return
    server = server_user()
    if owner == 0 and sys.platform == "linux":
        yield _masked()
    # What a server of this user made stays this user's.
    if owner in (0, server.pw_uid):
        yield Identity(server.pw_uid, server.pw_gid)


def _masked() -> Identity:
    """Ourselves on disk, somebody with a name and without rights in PostgreSQL's eyes."""
    somebody = _somebody()
    return Identity(somebody.pw_uid, somebody.pw_gid, namespace=True)


def server_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return _somebody()


def _somebody() -> pwd.struct_passwd:
    for person in sorted(pwd.getpwall(), key=lambda entry: (entry.pw_name != "nobody", entry.pw_uid)):
        if person.pw_uid != 0:
            return person
    raise Unstartable("PostgreSQL refuses to run as root, and /etc/passwd names nobody else: add a user")


def _named(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _name(uid: int) -> str:
    return pwd.getpwuid(uid).pw_name if _named(uid) else f"uid {uid}"
