#!/usr/bin/env python3
"""Prints the version that a program for Windows says it has, without running it: that in its file's properties.

    program_version.py FILE
"""

import sys

# A text of the version resource: its name, and then its value, both in UTF-16 and each with a zero at its end. The value begins at
# a multiple of four bytes, so there may be one more zero.
NAME = "ProductVersion\0".encode("utf-16-le")


def version(program):
    begin = program.find(NAME)
    if begin < 0:
        return ""
    value = program[begin + len(NAME):][:256].decode("utf-16-le", "replace")
    return value.lstrip("\0").partition("\0")[0]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as file:
        print(version(file.read()))


if __name__ == "__main__":
    main()
