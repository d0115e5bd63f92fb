"""Stands for `wsctl` in a shell: has the fork server start it, tells it its signals, and ends as it does.

Run by its path, with the address of the fork server and what the command is told; imports next to nothing.
"""

import array
import json
import os
import signal
import socket
import struct
import sys

TOLD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that are passed on. Of SIGKILL the fork server hears."""

STATUS = struct.Struct("=q")
"""As `fork_server.STATUS`."""


def main() -> None:
    """Start the program, wait for it, and end with its exit code or by its signal."""
    name, *arguments = sys.argv[1:]
    ignored = [int(each) for each in TOLD if signal.getsignal(each) is signal.SIG_IGN]
    mask = os.umask(0)
    os.umask(mask)
    asked = {
        "argv": [sys.executable, "-m", "wsctl", *arguments],
        "environ": dict(os.environ),
        "folder": os.getcwd(),
        "umask": mask,
        "ignored": ignored,
    }
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection, theirs:
        connection.connect(bytes.fromhex(name))
        fds = array.array("i", [0, 1, 2, theirs.fileno()])
        connection.sendmsg([json.dumps(asked).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    pid = STATUS.unpack(ours.recv(STATUS.size))[0]
    for each in TOLD:
        if int(each) not in ignored:
            signal.signal(each, lambda number, _: os.kill(pid, number))
    ended = STATUS.unpack(ours.recv(STATUS.size))[0]
    code = os.waitstatus_to_exitcode(ended)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
