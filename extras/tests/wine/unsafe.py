"""Directories that somebody could have prepared before an installation, which refuses them."""

import contextlib
import os
import shutil

from service import DATA, PROGRAMS

# Only root can give a directory away.
IS_ROOT = os.geteuid() == 0
SOMEBODY = 12_345


def writable(path):
    os.mkdir(path)
    os.chmod(path, 0o777)


def of_somebody_else(path):
    os.mkdir(path)
    os.chown(path, SOMEBODY, SOMEBODY)


# What is made, and what it is refused with.
UNSAFE = [(PROGRAMS, writable, "can be changed by others"),
          *([(DATA, of_somebody_else, "belongs to somebody else")] if IS_ROOT else [])]
NOT_TRIED = None if IS_ROOT else "a directory of another owner was not tried: only root can make one"


@contextlib.contextmanager
def unsafe(machine, directory, make):
    """Such a directory, for a while."""
    place = machine.place(directory)
    make(place)
    try:
        yield
    finally:
        shutil.rmtree(place)
