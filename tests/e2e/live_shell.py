#!/usr/bin/python3
"""Going on from the middle of a shell session with other things typed, in virtual
time that follows the clock; and from gdb, through a pseudo-terminal."""
import hashlib
import os
import re
import select
import subprocess
import sys
import time

from gdb_session import Gdb
from harness import Test

test = Test(__doc__, needs_kernel=True)
SECONDS = 240


def converse(process, dialogue):
    """Types each line when its prompt has been printed; returns all output."""
    printed, mark, lines = b"", 0, list(dialogue)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        ready, _, _ = select.select([process.stdout], [], [], 0.2)
        if ready:
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return printed
            printed += data
        if lines and re.search(lines[0][0], printed[mark:]):
            mark = len(printed)
            for byte in lines.pop(0)[1]:
                os.write(process.stdin.fileno(), bytes((byte,)))
                time.sleep(0.005)
    process.kill()
    test.failed = True
    print(f"FAILED: no end after {SECONDS} s; printed:\n{printed.decode(errors='replace')[-3000:]}")
    return sys.exit(1)


def typed(*command, dialogue):
    process = subprocess.Popen([test.program, *command, "--serial", "stdio", "--idle", "wait"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    printed = converse(process, dialogue)
    errors = process.stderr.read().decode(errors="replace")
    test.check(process.wait() == 0, f"{command[0]} ended with {process.returncode}: {errors[-2000:]}")
    return printed


def info(path):
    return test.json_of(test.run("info", path, "--json"))


def sound(path, *options):
    result = test.json_of(test.run("verify", path, "--json", *options, seconds=600))
    test.check(result["result"] == "identical", f"{path}: {result}")


def content(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


run = test.path("run.cvr")
typed("record", "-o", run, *test.linux("--shell"), "--checkpoint-every", "100000000", "--checkpoint-budget", "0",
      dialogue=[(rb"guest# ", b"X=first; echo is $X\r"), (rb"is first\r*\n(.|\n)*guest# ", b"X=second; echo is $X\r"),
                (rb"is second\r*\n(.|\n)*guest# ", b"exit\r")])
# Where the answer to the first line was printed.
facts = info(run)


def position_of(text):
    """The first position (to 100,000) at which the console shows the text."""
    low, high = 0, facts["end"]
    while high - low > 100_000:
        middle = (low + high) // 2
        shown = test.run("replay", run, "--to", middle, "--no-verify", seconds=600).stdout
        low, high = (low, middle) if text in shown else (middle, high)
    return high


at = position_of(b"is first\r\n")
# The second line was typed a moment later; wait for the prompt only.
test.run("bookmark", run, "answered", at)
before = content(run)
child = test.path("child.cvr")
begun = time.monotonic()
printed = typed("live", run, "-o", child, "--at", "answered", "--checkpoint-every", "100000000",
                # What was typed of the next line is taken back: the position is not exact.
                dialogue=[(rb"", b"\x15\r"), (rb"guest# ", b"echo still $X; sleep 2; echo rested\r"), (rb"rested\r*\n(.|\n)*guest# ", b"exit\r")])
seconds = time.monotonic() - begun
test.check(b"still first" in printed and b"second" not in printed, f"the shell remembers otherwise: {printed[-500:]!r}")
facts_of_child = info(child)
test.check(facts_of_child["parent"]["position"] == at and facts_of_child["idle"] == "wait", f"{facts_of_child['parent']}")
test.check(seconds >= 2, f"a sleep of 2 s took {seconds} s of the clock")
sound(child)
sound(child, "--from", str((at + facts_of_child["end"]) // 2))
test.check(test.run("replay", child).stdout in printed + b"\r\n", "the replay shows something else")
test.check(content(run) == before, "the parent has changed")
test.run("live", run, "--at", "end", "-o", test.path("refused.cvr"), expect=2)

# From gdb: the kernel stopped in the middle of anything, typed to through a terminal.
live = test.path("gdb.cvr")
Gdb(test, run)("typing to Linux", f'    file = {live!r}\n' + """    import re, threading
    run("stepi 100"); run("set $rip = $rip")
    text = run("monitor go-live " + file + " --serial pty"); path = re.search(r"line is (/\\S+)", text).group(1)
    line = os.open(path, os.O_RDWR | os.O_NOCTTY); answer = []
    def talk():
        seen = b""
        os.write(line, b"\\x15\\recho again $X; exit\\r")
        while b"again first" not in seen: seen += os.read(line, 1000)
        answer.append(seen)
    thread = threading.Thread(target=talk); thread.start()
    for steps in (1, 3, 40): run("stepi %d" % steps)
    run("continue"); thread.join(60)
    check(answer, "the shell answered"); text = run("monitor when"); check("on a branch" in text, "the guest powered off: " + text)
    run("reverse-stepi"); check("branch" not in run("monitor when"), "back on the timeline")
""", at="answered")
test.check(info(live)["summary"]["exit"]["reason"] == "poweroff", f"ended by {info(live)['summary']['exit']}")
sound(live)
test.check(b"again first" in test.run("replay", live).stdout, "the replay lacks the answer")
test.check(content(run) == before, "the parent has changed under gdb")
print(f"{facts['end']} steps, live from {at}: {facts_of_child['end'] - at} steps in {seconds:.1f} s")
