"""A manager's store as a newer version would have left it."""

import glob
import struct

from report import want

STATE = "/var/lib/task-messenger/manager"
# A block begins with these bytes and the number of its format; the journal's file begins with a block.
MAGIC = b"TMJB"
BEGIN = struct.Struct("<4sH")


class NewerStore:
    """The newest file of the journal, with the number of its format raised, for as long as this is entered.

    A manager that runs has read it, and is not disturbed.
    """

    def __init__(self, fleet):
        segments = sorted(glob.glob(fleet.machine.place(f"{STATE}/store/journal/*.segment")))
        # One may lie there for later, with nothing in it.
        written = [segment for segment in segments if begin_of(segment)[0] == MAGIC]
        want(written, f"no journal in {segments}")
        self.path = written[-1]
        self.known = begin_of(self.path)[1]

    def write(self, number):
        with open(self.path, "r+b") as file:
            file.write(BEGIN.pack(MAGIC, number))

    def __enter__(self):
        self.write(self.known + 1)
        return self

    def __exit__(self, *_):
        self.write(self.known)


def begin_of(path):
    with open(path, "rb") as file:
        return BEGIN.unpack(file.read(BEGIN.size))
