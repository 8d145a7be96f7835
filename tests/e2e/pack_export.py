#!/usr/bin/python3
"""What is made out of a recording of Linux: packed, trimmed, bookmarked, exported
and kept by the flight recorder; every result that is a recording must verify."""
import json
import os
import re
import shutil
import signal
import subprocess
import time

from harness import CMDLINE, SHA_OF_16_MIB, Test

test = Test(__doc__, needs_kernel=True)
linux = test.linux()
QUIET = ["--serial", "none", "--json"]


def verified(path, *options):
    return test.json_of(test.run("verify", path, "--json", *options, seconds=600))


def info(path):
    return test.json_of(test.run("info", path, "--json"))


run = test.path("run.cvr")
made = test.json_of(test.run("record", "-o", run, *linux, *QUIET, "--checkpoint-every", "100000000",
                             "--checkpoint-budget", "0", seconds=600))
end = made["instructions"]
facts = info(run)
test.check(facts["end"] == end and facts["start"] == 0, f"info disagrees with record: {facts}")
test.check(facts["log_bytes"] <= 65536, f"the log takes {facts['log_bytes']} bytes")
test.check(facts["guest"]["command_line"] == CMDLINE, "info has another command line")
test.check(facts["checkpoints"] >= end // 100_000_000, "checkpoints are missing")
shown = test.run("info", run).stdout.decode()
test.check(CMDLINE in shown and "poweroff" in shown and "Power down" in shown, "info as text lacks something")

# pack: smaller, and the same run.
packed = test.path("packed.cvr")
done = test.run("pack", run, packed, "--thin", "8", "--json", seconds=600)
test.check(b"secrets" in done.stderr, "pack does not warn of secrets", done)
test.check(os.path.getsize(packed) < os.path.getsize(run), "packing does not make it smaller", done)
result = verified(packed)
test.check(result["digest"] == made["digest"], f"the packed recording ends in another state: {result}")
refusal = test.run("pack", run, run, expect=2)
foreign = test.path("letter.txt")
with open(foreign, "w", encoding="utf-8") as file:
    file.write("dear user")
test.run("pack", run, foreign, expect=2)

# trim: starts at a checkpoint, ends exactly.
trimmed = test.path("trimmed.cvr")
test.run("trim", run, trimmed, "--from", "1_050_000_000", "--to", "1_500_000_123", seconds=600)
facts = info(trimmed)
test.check(facts["start"] == 1_000_000_000 and facts["end"] == 1_500_000_123, f"trimmed to {facts['start']}..{facts['end']}")
test.check(not facts["images"], "a recording that starts at a checkpoint carries images")
result = verified(trimmed)
test.check(result["digests_checked"] >= 5, f"too few digests: {result}")

# bookmarks
test.run("bookmark", packed, "half", str(end // 2))
test.run("bookmark", packed, "half", "17", expect=2)
test.run("bookmark", packed, "beyond", str(end + 1), expect=2)
test.check({"name": "half", "position": end // 2} in info(packed)["bookmarks"], "the bookmark is not there")
verified(packed, "--bytes-only")

# export: the console
lines = test.run("export", run, "--format", "cast").stdout.decode().splitlines()
header = json.loads(lines[0])
test.check(header["version"] == 2 and header["width"] == 80 and header["height"] == 24, f"cast header {header}")
events = [json.loads(line) for line in lines[1:]]
test.check(all(len(e) == 3 and e[1] in ("o", "m") and isinstance(e[2], str) for e in events), "cast events malformed")
test.check(all(a[0] <= b[0] for a, b in zip(events, events[1:])), "cast times go back")
# A bookmark has its own time, not that of the output after it.
test.run("bookmark", packed, "early", "5")
marks = [json.loads(line) for line in test.run("export", packed, "--format", "cast").stdout.decode().splitlines()[1:]]
test.check([0.0, "m", "early"] in marks, f"bookmarks in the cast: {[mark for mark in marks if mark[1] == 'm']}")
test.run("bookmark", "--delete", packed, "early")
text = "".join(e[2] for e in events if e[1] == "o")
test.check(SHA_OF_16_MIB in text and "init: counted 20000\r\n" in text, "the console is not in the cast")

# export: a trace, each position once, each changing only what follows from it
COUNT = 300
trace = test.run("export", packed, "--format", "trace", "--from", "half", "--to", str(end // 2 + COUNT)).stdout.decode()
steps = [line.split(None, 3) for line in trace.splitlines()]
positions = [int(s[0]) for s in steps if s[2] != "-"]
test.check(positions == list(range(end // 2, end // 2 + COUNT)), f"trace positions {positions[:5]}")
test.check(any("rax=" in line or "rsp=" in line for line in trace.splitlines()), "no register changes in the trace")

# export: a core
core = test.path("core")
test.run("export", packed, "--format", "vmcore", "--at", "half", "-o", core)
headers = subprocess.run(["readelf", "-Wln", core], capture_output=True, check=False)
listing = headers.stdout.decode()
test.check(headers.returncode == 0 and not headers.stderr, "readelf does not like the core", headers)
for wanted in ("CORE (Core file)", "NT_PRSTATUS", "QEMU", "VMCOREINFO", "0xffffffff81000000 0x0000000001000000"):
    test.check(wanted in listing, f"the core has no {wanted}", headers)
loads = re.findall(r"LOAD\s+(0x\w+) (0x\w+) (0x\w+) (0x\w+)", listing)
test.check(sum(int(l[3], 16) for l in loads[1:]) == 256 * 2**20 - 0x20000, f"not all RAM is in the core: {loads}")
# What crash and drgn need, which only linux_debug_info.py can try: no alignment,
# and whose registers these are.
test.check(len(re.findall(r"^ +LOAD .* 0$", listing, re.M)) == len(loads), "a segment with an alignment", headers)
running = [task for task in json.loads(test.run("linux-tasks", packed, "--json", "--at", "half").stdout) if task["on_cpu"]]
with open(core, "rb") as file:
    content = file.read(1 << 16)
note = content.index(b"CORE\0")
test.check(running and int.from_bytes(content[note + 8 + 32:note + 8 + 36], "little") == running[0]["pid"],
           f"the core's registers are not said to be those of {running}")
if shutil.which("gdb"):
    first = steps[0]
    asked = subprocess.run(["gdb", "-batch", "-nx", "-ex", "info registers rip", "-ex", "x/15xb $rip",
                            "-core", core], capture_output=True, check=False, timeout=120)
    seen = asked.stdout.decode()
    test.check(f"0x{int(first[1], 16):x}" in seen, f"rip in the core is not {first[1]}", asked)
    if first[1].startswith("ffff"):
        code = bytes(int(b, 16) for b in re.findall(r"\t0x(\w\w)", seen))
        test.check(code.startswith(bytes.fromhex(first[2])), f"memory at rip is not {first[2]}", asked)

# the flight recorder: bounded, whole, and of use after a kill
flight = test.path("flight.cvr")
made = test.json_of(test.run("record", "-o", flight, *linux, *QUIET, "--keep", "600ms", "--checkpoint-budget", "0",
                             "--checkpoint-every", "50000000", seconds=600))
facts = info(flight)
test.check(facts["end"] == end, f"the flight recording ends at {facts['end']}, not {end}")
kept = end - facts["start"]
test.check(600_000_000 <= kept <= 750_000_000, f"{kept} steps were kept")
test.check(not os.path.exists(flight + ".older") and not os.path.exists(flight + ".new"), "segments are left")
result = verified(flight)
test.check(result["digest"] == made["digest"], "the flight recording ends in another state")

# This guest never ends by itself, so that there always is a recorder to kill.
endless = test.path("endless")
with open(endless, "w", encoding="utf-8") as file:
    file.write("#!/bin/sh\ni=0\nwhile :; do i=$((i+1)); done\n")
killed = test.path("killed.cvr")
recorder = subprocess.Popen([test.program, "record", "-o", killed, *test.linux("--init", endless), "--serial", "none", "--keep", "400ms",
                             "--checkpoint-budget", "0", "--checkpoint-every", "50000000"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
until = time.monotonic() + 120
while not os.path.exists(killed + ".older") and time.monotonic() < until and recorder.poll() is None:
    time.sleep(0.05)
time.sleep(0.5)
# While a segment is begun there is none but the last, which is all that is to be kept.
while recorder.poll() is None and time.monotonic() < until:
    recorder.send_signal(signal.SIGSTOP)
    time.sleep(0.05)
    if os.path.exists(killed + ".older") and not os.path.exists(killed + ".new"):
        break
    recorder.send_signal(signal.SIGCONT)
    time.sleep(0.1)
recorder.send_signal(signal.SIGKILL)
recorder.wait()
test.check(os.path.exists(killed + ".older"), "no second segment was begun")
verified(killed + ".older")
test.run("info", killed)
joined = test.path("joined.cvr")
test.run("pack", killed + ".older", killed, joined, "--level", "1", seconds=600)
facts = info(joined)
test.check(facts["start"] == info(killed + ".older")["start"] and facts["end"] == info(killed)["end"], "the parts are not joined")
verified(joined)

# a crash is bookmarked by itself
crash = test.path("crash.cvr")
options = linux[:]
options[options.index("--append") + 1] += " rdinit=/not-there"
test.run("record", "-o", crash, *options, *QUIET, expect=None, seconds=600)
marks = {mark["name"]: mark["position"] for mark in info(crash)["bookmarks"]}
test.check("panic" in marks, f"no bookmark at the panic: {marks}")
line = test.run("export", crash, "--format", "trace", "--from", "panic", "--to", str(marks["panic"] + 5)).stdout
test.check(len(line.splitlines()) >= 5, "no trace at the panic")
print(f"log {info(run)['log_bytes']} bytes; packed {os.path.getsize(packed)} of {os.path.getsize(run)} bytes")
