"""Machines side by side: a process for each of them, and one, the first, that prints, asks and ends the others."""

import ctypes
import multiprocessing
import os
import signal
import sys
import time
import traceback
from multiprocessing.connection import wait

import host
from report import indent

# A forked process has the signals as they are set up here, and whatever the first one had made.
PROCESSES = multiprocessing.get_context("fork")


class Beside:
    """One machine's process, as the first one sees it: what it has said, and how it ended."""

    def __init__(self, name, work):
        self.name = name
        self.lines = []
        self.begin = time.monotonic()
        self.seconds = 0
        self.channel, theirs = PROCESSES.Pipe()
        self.process = PROCESSES.Process(target=in_its_process, args=(name, work, theirs), name=name)
        self.process.start()
        theirs.close()

    def hear(self):
        """Takes what it says; False when it has ended."""
        try:
            kind, text = self.channel.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            self.seconds = time.monotonic() - self.begin
            if self.process.exitcode not in (0, host.MISSING) and not self.failed():
                self.note(f"FAILED  {self.name}: its process ended with {self.process.exitcode}")
            return False
        if kind == "ask":
            ask(text)
            self.channel.send(None)
        else:
            self.note(text)
        return True

    def note(self, text):
        self.lines.append(text.splitlines()[0])
        print(text, flush=True)

    def failed(self):
        return sum(line.startswith("FAILED") for line in self.lines)


def side_by_side(works):
    """Runs all works, each with a function to say something and one to ask, and waits for them."""
    all_of_them = []
    try:
        for name, work in works.items():
            # So that a signal finds no half-made process, which would clean up what is not its own.
            with host.signals_held():
                all_of_them.append(Beside(name, work))
        open_ones = {beside.channel: beside for beside in all_of_them}
        while open_ones:
            for channel in wait(list(open_ones)):
                if not open_ones[channel].hear():
                    del open_ones[channel]
    finally:
        with host.signals_held():
            for beside in all_of_them:
                if beside.process.is_alive():
                    beside.process.terminate()
            for beside in all_of_them:
                beside.process.join()
    return all_of_them


def in_its_process(name, work, channel):
    ended_with_the_first()
    host.release_signals()
    try:
        work(lambda text: channel.send(("say", text)), lambda text: (channel.send(("ask", text)), channel.recv()))
    except Exception:  # pylint: disable=broad-except
        channel.send(("say", f"FAILED  {name}: the test itself\n{indent(traceback.format_exc())}"))
        sys.exit(1)


def ended_with_the_first():
    """Also if that is killed, this one cleans up."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGTERM))
    if os.getppid() != multiprocessing.parent_process().pid:
        sys.exit(1)


def ask(text):
    try:
        input(text)
    except EOFError:
        print("nobody is there to press Enter", flush=True)
