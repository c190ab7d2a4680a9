"""Steps: each has a name, takes a while, and ends as ok, SKIPPED or FAILED."""

import time
import traceback


class Failure(Exception):
    """What a step found wrong."""


class Skip(Exception):
    """Why a step can't show anything here. Only for what is expected."""


class Result:
    """What came of a command: its exit code, and its output and errors together."""

    def __init__(self, code, text):
        self.code = code
        self.text = text


def want(condition, text):
    if not condition:
        raise Failure(text)


def want_text(result, *words):
    for word in words:
        want(word in result.text, f"'{word}' is not in\n{result.text}\nexit code {result.code}")


class Report:
    """What comes of the steps of one machine; `say` gets it, each step's in one piece."""

    def __init__(self, say, only=None):
        self.say = say
        self.only = only
        self.failed = 0

    def wants(self, name, needed):
        return self.only is None or needed or self.only in name

    def step(self, machine, name, work, needed=False):
        """Runs a step. False when it failed."""
        if not self.wants(name, needed):
            return True
        begin = time.monotonic()
        failure, note = None, ""
        try:
            result = work()
            note = f"  ({result})" if isinstance(result, str) else ""
        except Skip as skip:
            self.say(f"SKIPPED: {machine.name}: {name}: {skip}")
            return True
        except Failure as caught:
            failure = str(caught)
        except Exception:  # pylint: disable=broad-except
            failure = traceback.format_exc()
        line = f"{machine.name}: {name}  {time.monotonic() - begin:.1f} s{note}"
        if failure is None:
            self.say(f"ok      {line}")
            return True
        self.failed += 1
        self.say(f"FAILED  {line}\n{indent(failure)}\n{indent(machine.state())}")
        return False


def indent(text):
    return "\n".join(f"    | {line}" for line in text.rstrip().splitlines())
