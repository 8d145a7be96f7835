#!/usr/bin/python3
"""A stock Debian kernel is recorded, recorded again to the same digest, verified
and replayed to the same console."""
import subprocess

from harness import SHA_OF_16_MIB, Test

test = Test(__doc__, needs_kernel=True)
guest = test.linux()

recordings, consoles, reports = [], [], []
for number in (1, 2):
    recording = test.path(f"boot{number}.cvr")
    console = test.path(f"console{number}.txt")
    done = test.run("record", "-o", recording, *guest, "--serial", f"file:{console}", "--json", given=b"")
    with open(console, "rb") as file:
        text = file.read()
    test.check(SHA_OF_16_MIB.encode() in text, f"no right checksum on the console: {text[-2000:]!r}", done)
    test.check(b"init: counted 20000" in text, "the loop's line is missing on the console", done)
    report = test.json_of(done)
    test.check(report["exit"]["reason"] == "poweroff", f"ended by {report['exit']}", done)
    test.check(report["checkpoints"] >= 2, f"only {report['checkpoints']} checkpoints", done)
    recordings.append(recording)
    consoles.append(text)
    reports.append(report)
    print(f"record {number}: {report['instructions']:,} instructions in {report['seconds']:.1f} s, "
          f"{report['bytes']:,} bytes, {report['checkpoints']} checkpoints, digest {report['digest']}")

for field in ("digest", "instructions"):
    test.check(reports[0][field] == reports[1][field],
               f"{field} differs between two recordings: {reports[0][field]} and {reports[1][field]}")
test.check(consoles[0] == consoles[1], "the consoles of two recordings differ")

test.run("verify", recordings[0])
replayed = test.run("replay", recordings[0])
# A replay shows what the guest sent; a terminal's or file's line ends are its own affair.
shown = replayed.stdout.replace(b"\r\n", b"\n")
test.check(consoles[0].replace(b"\r\n", b"\n") in shown, "replay shows another console than the recording's", replayed)

middle = reports[0]["instructions"] // 2
part = test.run("replay", recordings[0], "--to", middle)
test.check(len(part.stdout) < len(replayed.stdout), "replay --to the middle shows the whole console", part)
# The determinism gate: from a checkpoint in the middle, and with checkpoints off.
from_middle = test.json_of(test.run("verify", recordings[0], "--from", middle, "--json"))
test.check(from_middle["digest"] == reports[0]["digest"], f"from the middle: {from_middle}")
bare = test.path("bare.cvr")
report = test.json_of(test.run("record", "-o", bare, *guest, "--serial", "none", "--no-checkpoints", "--json", given=b""))
test.check(report["checkpoints"] == 0, f"--no-checkpoints took {report['checkpoints']}")
test.check(report["digest"] == reports[0]["digest"], "without checkpoints the digest differs")
test.run("verify", bare)

information = test.json_of(test.run("info", recordings[0], "--json"))
test.check(isinstance(information, dict) and information, "info --json is empty")
print("verified, replayed")

# A query by a symbol's name is one by its address, wherever the kernel was put.
symbols = test.path("kernel.elf")
test.run("symbols", recordings[0], "-o", symbols)
listed = subprocess.run(["nm", symbols], capture_output=True, text=True, check=True).stdout.splitlines()
addresses = {words[2]: int(words[0], 16) for words in (line.split() for line in listed) if len(words) == 3}


def executed(address):
    answer = test.json_of(test.run("query", "executes", recordings[0], "--address", address, "--json"))
    return [row["position"] for row in answer["results"]]


begun = executed("start_kernel")
test.check(len(begun) == 1 and begun == executed(hex(addresses["start_kernel"])), f"start_kernel at {begun}")
off = executed("kernel_power_off")
test.check(len(off) == 1 and off[0] > begun[0] and executed(hex(addresses["kernel_power_off"] - 1) + "+1") == off,
           f"kernel_power_off at {off}")
test.run("query", "executes", recordings[0], "--address", "no_such_symbol", expect=2)
print(f"start_kernel runs at {begun[0]:,}, kernel_power_off at {off[0]:,}")
