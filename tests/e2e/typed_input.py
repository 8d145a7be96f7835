#!/usr/bin/python3
"""What is typed into a shell in the guest, by a terminal and by a pipe, is
recorded and replays identically."""
import os
import pty
import re
import select
import subprocess
import sys
import time

from harness import Test


def extra(parser):
    parser.add_argument("--through", choices=("pty", "pipe"), default="pty")


test = Test(__doc__, needs_kernel=True, extra=extra)
recording = test.path("typed.cvr")
command = [test.program, "record", "-o", recording, *test.linux("--shell"), "--serial", "stdio", "--idle", "wait"]

# (what must have been printed since the last line was typed, what to type then)
DIALOGUE = [(rb"guest# ", b"echo answer $((6*7))\r"),
            (rb"answer 42\r*\n(.|\n)*guest# ", b"cat /proc/uptime > /tmp/u; wc -l < /tmp/u\r"),
            (rb"\n1\r*\n(.|\n)*guest# ", b"sleep 1; echo rested\r"),
            (rb"\nrested\r*\n(.|\n)*guest# ", b"exit\r")]
SECONDS = 240


def converse(read_from, write_to, process):
    """Plays the dialogue; returns all that was printed."""
    printed, mark, lines = b"", 0, list(DIALOGUE)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        ready, _, _ = select.select([read_from], [], [], 0.2)
        if ready:
            try:
                data = os.read(read_from, 65536)
            except OSError:  # a pty whose other end closed
                data = b""
            if not data:
                return printed
            printed += data
        if lines and re.search(lines[0][0], printed[mark:]):
            mark = len(printed)
            typed = lines.pop(0)[1]
            for byte in typed:  # as fingers do it: a byte at a time
                os.write(write_to, bytes((byte,)))
                time.sleep(0.01)
    process.kill()
    test.failed = True
    print(f"FAILED: no end after {SECONDS} s; printed so far:\n{printed.decode(errors='replace')[-3000:]}")
    sys.exit(1)


errors = open(test.path("stderr.txt"), "wb+")
if test.arguments.through == "pty":
    parent, child = pty.openpty()
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=errors)
    os.close(child)
    printed = converse(parent, parent, process)
else:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    printed = converse(process.stdout.fileno(), process.stdin.fileno(), process)
status = process.wait(timeout=60)
errors.seek(0)
test.check(status == 0, f"record ended with {status}: {errors.read().decode(errors='replace')[-2000:]}\n"
                        f"{printed.decode(errors='replace')[-2000:]}")
test.check(b"rested" in printed, "the shell did not answer")
information = test.json_of(test.run("info", recording, "--json"))
print(f"recorded {len(printed)} bytes of console; info: {list(information)}")

test.run("verify", recording)
first = test.run("replay", recording)
second = test.run("replay", recording)
test.check(first.stdout == second.stdout, "two replays differ", first, second)
test.check(b"answer 42" in first.stdout and b"rested" in first.stdout, "the replay lacks what was answered", first)
print("verified, replayed twice alike")
