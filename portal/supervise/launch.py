"""Turns itself into a child: in the identity it shall have, and never outliving its parent.

Run as a script (`python -I -S launch.py ORDERS ARGV…`), not imported: between fork and exec of a process
with threads nothing but a fresh interpreter is safe.
"""

import ctypes
import json
import os
import sys

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000


def enter_namespace(libc: ctypes.CDLL, uid: int, gid: int) -> None:
    """Be `uid` in an own user namespace: files keep their owner, yet PostgreSQL sees no root."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"unshare: {os.strerror(code)}")
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outer_uid} 1"),
        ("gid_map", f"{gid} {outer_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(content)


def become(uid: int, gid: int) -> None:
    os.setgroups([gid])
    os.setgid(gid)
    os.setuid(uid)


def main() -> None:
    orders = json.loads(sys.argv[1])
    argv = sys.argv[2:]
    linux = sys.platform == "linux"
    libc = ctypes.CDLL(None, use_errno=True) if linux else None
    if orders["namespace"] and libc:
        enter_namespace(libc, orders["uid"], orders["gid"])
    elif orders["uid"] is not None:
        become(orders["uid"], orders["gid"])
    # Last: the kernel forgets this wish whenever the identity changes.
    if libc:
        libc.prctl(PR_SET_PDEATHSIG, orders["dies_by"], 0, 0, 0)
        if os.getppid() != orders["parent"]:
            sys.exit("the parent ended before its child began")
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main()
