#!/usr/bin/env python3
"""zip.py DIRECTORY: packs it as DIRECTORY.zip. The same files give the same bytes: all are of SOURCE_DATE_EPOCH, in the order of
their names' bytes, with forward slashes, and compressed alike."""

import os
import sys
import time
import zipfile

# The oldest time that a ZIP can say (APPNOTE.TXT 4.4.6).
OLDEST = 315532800


def main():
    top = sys.argv[1].rstrip("/")
    when = time.gmtime(max(int(os.environ["SOURCE_DATE_EPOCH"]), OLDEST))[:6]
    paths = [os.path.join(place, name) for place, _, names in os.walk(top) for name in names]
    with zipfile.ZipFile(f"{top}.zip", "w") as archive:
        for path in sorted(paths, key=os.fsencode):
            entry = zipfile.ZipInfo(path.replace(os.sep, "/"), when)
            # As a program for Windows would have made it, whatever packs: a plain file.
            entry.create_system = 0
            entry.compress_type = zipfile.ZIP_DEFLATED
            with open(path, "rb") as file:
                archive.writestr(entry, file.read(), compresslevel=9)


if __name__ == "__main__":
    main()
