#!/usr/bin/python3
"""Ctrl-C while gdb itself steps: stepi and reverse-stepi with a count, a software
watchpoint, reverse-next in code without line numbers. And the position after a call."""
import os
import re
import select
import signal
import subprocess
import time

from gdb_session import GDB, travel_guest
from harness import PATIENCE, ROOT, Test, skip

test = Test(__doc__)
if GDB is None:
    skip("gdb is not installed")
recording, symbols = travel_guest(test, 64)
plain = test.path("plain.elf")
test.run("--strip-debug", symbols, plain, program="/usr/bin/objcopy")
LIMIT = 1.0 * PATIENCE


class Session:
    """A gdb that is spoken to as at a terminal."""

    def __init__(self, symbol_file):
        self.process = subprocess.Popen(
            [GDB, "-nx", "-q", symbol_file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, env=dict(os.environ, LC_ALL="C.UTF-8"))
        self.seen = ""
        self.run("set pagination off", "set confirm off", "set width 0", "set debuginfod enabled off")
        self.run(f"target remote | exec {test.program} debug {recording} --listen stdio 2> {test.path('log')}")

    def type(self, *commands):
        self.process.stdin.write("".join(command + "\n" for command in commands).encode())
        self.process.stdin.flush()

    def until(self, pattern, seconds=60 * PATIENCE):
        """What gdb printed up to a match."""
        ends = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, ends - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 65536).decode(errors="replace") if ready else ""
            if not piece:
                self.process.kill()
                test.fail(f"{pattern!r} did not come within {seconds} s, or gdb ended: {self.seen[-3000:]}")
            self.seen += piece
        text, self.seen = self.seen[:found.end()], self.seen[found.end():]
        return text

    def run(self, *commands):
        self.type(*commands, "echo ---done---\\n")
        return self.until("---done---")

    def position(self):
        return int(re.search(r"= (\d+)", self.run("output $position", "echo \\n", "print $position"))[1])

    def end(self):
        self.type("disconnect", "quit")
        self.process.communicate(timeout=30)


def interrupted(name, session, command, after=0.5):
    """Starts a command that would take very long, and interrupts it."""
    begun = session.position()
    session.type("echo ---begun---\\n", command)
    session.until("---begun---")
    time.sleep(after)
    session.process.send_signal(signal.SIGINT)
    sent = time.monotonic()
    session.until("SIGINT|Quit", seconds=LIMIT)
    took = time.monotonic() - sent
    # It is usable at once, and the interrupt is used up.
    there = session.position()
    test.check(there != begun, f"{name}: it had not begun")
    session.run("stepi")
    test.check(session.position() > there, f"{name}: the interrupt spoils what comes after it")
    print(f"{name}: stopped after {took:.2f} s")


gdb = Session(symbols)
gdb.run("tbreak spin", "continue")
for attempt in range(3):
    interrupted("stepi 1000000", gdb, "stepi 1000000")
gdb.run("set can-use-hw-watchpoints 0", "watch sum if sum < 0")
interrupted("software watchpoint", gdb, "continue")
gdb.run("delete", "set can-use-hw-watchpoints 1", "tbreak factorial", "monitor seek end", "reverse-continue")
for attempt in range(3):
    interrupted("reverse-stepi 1000000", gdb, "reverse-stepi 1000000")
# A breakpoint later on is met: no interrupt is left over.
gdb.run("monitor seek start", "reverse-continue", "tbreak factorial")
text = gdb.run("continue")
test.check("Temporary breakpoint" in text and "SIGINT" not in text, "continue after all that: " + text)
gdb.end()

gdb = Session(plain)
gdb.run("tbreak spin", "continue", "stepi 20000")
interrupted("reverse-next without line numbers", gdb, "reverse-next", after=0.2)
gdb.end()
print("every interrupt stopped gdb")

# gdb believes that it has put the clocks back after a call in the guest; with our
# commands loaded it knows better by the next prompt.
gdb = Session(symbols)
gdb.run(f"source {os.path.join(ROOT, 'scripts/gdb/chronovisor.py')}", "tbreak factorial", "continue")
before = gdb.position()
gdb.run("print square(12)")
after = gdb.position()
told = re.search(r"position ([\d,]+) of", gdb.run("chronovisor when"))[1].replace(",", "")
test.check(after > before and after == int(told), f"$position after a call: {before}, {after}, told {told}")
gdb.end()
print("the position is right after a call")
