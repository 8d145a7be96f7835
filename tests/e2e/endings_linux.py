#!/usr/bin/python3
"""A Linux kernel that panics: with a reboot the status is 1; waiting for ever it is said
to be stuck, and ended where that was asked for. The options that only a Linux guest can
try are tried here."""
import json

from harness import Test

test = Test(__doc__, needs_kernel=True)
kernel, initrd = test.kernel(), test.initramfs()
QUIET = ["--serial", "none", "--memory", "256M"]
LINE = "console=ttyS0 quiet nokaslr rdinit=/not-there"


def record(name, line, *options, expect):
    out = test.path(name)
    done = test.run("record", "-o", out, "--kernel", kernel, "--initrd", initrd, "--append", line, *QUIET, "--json", *options,
                    expect=expect, seconds=600)
    return json.loads(done.stdout), done, out


facts, done, reset = record("reset.cvr", LINE + " panic=-1", expect=1)
test.check(facts["panicked"] and facts["exit"]["reason"] in ("reset", "triple-fault"), "a panic with a reboot", done)
facts, done, waits = record("waits.cvr", LINE + " panic=0", "--stuck-after", "400_000_000", "--stop-when-stuck", "--limit", "9_000_000_000",
                            expect=1)
test.check(facts["exit"]["reason"] == "stuck" and facts["stuck"]["panicked"] and b"no progress" in done.stderr, "a panic that waits", done)
# A boot that works is never taken for stuck, however short the stretch.
facts, done, _ = record("boots.cvr", "console=ttyS0 quiet panic=-1 nokaslr", "--stuck-after", "100_000_000", "--stop-when-stuck", expect=0)
test.check(facts["exit"]["reason"] == "poweroff" and "stuck" not in facts, "a boot", done)

# Options and values for Linux guests only (options.py leaves them to this test).
out = test.path("kernel.sym")
test.run("symbols", waits, "-o", out)
test.run("symbols", waits, "-o", out, expect=2)
test.run("symbols", waits, "-o", out, "--force", "--at", "panic")
test.run("symbols", waits, "-o", waits, "-f", expect=2)
test.check(test.run("symbols", waits, "-o", "-").stdout[:4] == b"\x7fELF", "symbols through a pipe")
for at in ("start", "end", "panic"):
    test.run("linux-log", waits, "--at", at, expect=(0, 3) if at == "start" else 0)
for command in ("linux-log", "linux-tasks", "linux-modules"):
    json.loads(test.run(command, waits, "--json", "--at", "panic").stdout)
test.run("query", "writes", waits, "--address", "system_state", "--last", "--no-index", "--from", "panic")
test.run("compare", kernel, "--kind", "linux", "--initrd", initrd, "--engines", "soft,soft", "--limit", "20000", "--memory", "256M")
print("panics end with status 1")
