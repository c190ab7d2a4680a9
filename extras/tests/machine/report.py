"""Steps: each has a name, takes a while, and ends as ok, SKIPPED or FAILED."""

import time
import traceback


class Failure(Exception):
    """What a step found wrong."""


class Skip(Exception):
    """Why a step can't show anything here. Only for what is expected."""


class Report:
    """What came of the steps of all machines."""

    def __init__(self, only=None):
        self.only = only
        self.lines = []
        self.failed = 0

    def wants(self, name, needed):
        return self.only is None or needed or self.only in name

    def step(self, machine, name, work, needed=False):
        """Runs a step. False when it failed."""
        if not self.wants(name, needed):
            return True
        begin = time.monotonic()
        word, text = "ok", ""
        try:
            note = work()
            text = f"  ({note})" if isinstance(note, str) else ""
        except Skip as skip:
            self.say(f"SKIPPED: {machine.name}: {name}: {skip}")
            return True
        except Failure as failure:
            word, text = "FAILED", f"\n{indent(str(failure))}"
        except Exception:  # pylint: disable=broad-except
            word, text = "FAILED", f"\n{indent(traceback.format_exc())}"
        self.say(f"{word:<7} {machine.name}: {name}  {time.monotonic() - begin:.1f} s{text}")
        if word == "FAILED":
            self.failed += 1
            print(indent(machine.state()), flush=True)
        return word == "ok"

    def say(self, line):
        self.lines.append(line.splitlines()[0])
        print(line, flush=True)


def indent(text):
    return "\n".join(f"    | {line}" for line in text.rstrip().splitlines())
