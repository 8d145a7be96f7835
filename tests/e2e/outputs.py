#!/usr/bin/python3
"""What a command writes never replaces what it reads, by whatever name, nor anything else
without --force; it is whole or not there; and places beyond the end are refused alike."""
import json
import os
import signal
import subprocess
import time

from harness import Test

test = Test(__doc__)
guest = test.guest("interrupts64")
recording = test.path("run.cvr")
test.run("record", "-o", recording, "--multiboot", guest, "--memory", "16M", "--serial", "none")
test.run("bookmark", recording, "half", "100")
with open(recording, "rb") as file:
    original = file.read()
end = json.loads(test.run("info", recording, "--json").stdout)["end"]
hard, soft = test.path("hard.cvr"), test.path("soft.cvr")
os.link(recording, hard)
os.symlink(recording, soft)
other = test.path("letter.txt")


def caught(process):
    """The signals that it has handlers for."""
    with open(f"/proc/{process}/status", encoding="ascii") as status:
        mask = next(int(line.split()[1], 16) for line in status if line.startswith("SigCgt"))
    return {str(number) for number in range(1, 65) if mask >> (number - 1) & 1}


def letter():
    with open(other, "wb") as file:
        file.write(b"dear user")


def unharmed(what):
    with open(recording, "rb") as file:
        test.check(file.read() == original, f"{what} changed the recording")
    test.check(not [name for name in os.listdir(test.folder) if name.endswith(".new")], f"{what} leaves {os.listdir(test.folder)}")


trace = ["export", recording, "--format", "trace", "--from", "start", "--to", "half"]
core = ["export", recording, "--format", "vmcore", "--at", "half"]
cast = ["export", recording, "--format", "cast"]
quiet = ["--serial", "none"]
WRITERS = [
    (trace, "-o"), (core, "-o"), (cast, "-o"), (["symbols", recording], "-o"), (["pack", recording], "-o"), (["report", recording], "-o"),
    (["trim", recording, "--to", "half"], "-o"), (["index", recording], "-o"),
    (["live", recording, "--at", "half", "--limit", "200", *quiet], "-o"),
    (["replay", recording], "--serial="), (["live", recording, "--at", "half", "-o", test.path("new.cvr")], "--serial="),
    (["record", "--multiboot", guest, "--module", recording, *quiet], "-o"),
    (["record", "--multiboot", guest, "--module", recording, "-o", test.path("new.cvr")], "--serial="),
]
count = 0
for command, how in WRITERS:
    def writes(path):
        return [*command, "-o", path] if how == "-o" else [*command, "--serial", "file:" + path]
    for name in (recording, hard, soft, os.path.join(test.folder, ".", "run.cvr")):
        for force in ([], ["--force"]):
            done = test.run(*writes(name), *force, expect=2, seconds=60)
            test.check(b"itself" in done.stderr or b"which would be lost" in done.stderr, f"{command}: the refusal says nothing of the reason", done)
            unharmed(f"{command} to {name}")
            count += 1
    letter()
    if how != "-o":  # a console replaces the one before it, but no recording
        test.run(*writes(other), expect=(0, 1), seconds=60)
        test.run("pack", recording, test.path("packed.cvr"))
        test.run(*writes(test.path("packed.cvr")), expect=2)
        unharmed(f"{command}")
        continue
    done = test.run(*writes(other), expect=2, seconds=60)
    test.check(b"--force" in done.stderr, f"{command}: --force is not offered", done)
    with open(other, "rb") as file:
        test.check(file.read() == b"dear user", f"{command} replaced a letter")
    count += 1
    if command[0] != "symbols":  # there is no Linux here
        test.run(*writes(other), "-f", expect=(0, 1), seconds=60)
        with open(other, "rb") as file:
            test.check(file.read() != b"dear user", f"{command} --force wrote nothing")
        unharmed(f"{command} --force")
test.run("pack", recording, hard, expect=2)
test.run("record", "--multiboot", guest, "-o", guest, "--force", *quiet, expect=2)
test.run("record", "--flat", other + "@0x7c00", "-o", other, "-f", *quiet, expect=2)
test.run("record", "--multiboot", guest, "-o", test.path("same.cvr"), "--serial", "file:" + test.path("same.cvr"), expect=2)
# A recording goes without asking where a recording is written, and nowhere else.
another = test.path("another.cvr")
test.run("pack", recording, another)
test.run("pack", recording, another)
test.run("trim", recording, "-o", another, "--to", "half")
test.run("pack", recording, "-o", another, test.path("out.cvr"), expect=(2, 3))
test.run(*cast, "-o", another, expect=2)
# A link to somewhere leads there, and the permissions stay.
link = test.path("link.cast")
letter()
os.chmod(other, 0o640)
os.symlink(other, link)
test.run(*cast, "-o", link, "-f")
test.check(os.path.islink(link) and os.stat(other).st_mode & 0o777 == 0o640, "a link was replaced by a file")
with open(other, "rb") as file:
    test.check(json.loads(file.readline())["version"] == 2, "the cast is not where the link leads")

# Standard output
test.check(test.run(*cast, "-o", "-").stdout == test.run(*cast).stdout != b"", "-o - is not standard output")
test.check(test.run(*core, "-o", "-").stdout[:4] == b"\x7fELF", "a core through a pipe")
for command in (["pack", recording, "-o", "-"], ["record", "--multiboot", guest, "-o", "-", *quiet], ["live", recording, "-o", "-", *quiet]):
    test.run(*command, expect=2)
# Nobody reads on; nothing fits.
for command in (trace, core, cast, ["info", recording], ["info", recording, "--json"], ["query", "executes", recording, "-a", "0x100000", "-n", "4096"],
                ["doctor"], ["manual"], ["verify", recording]):
    for closed in ("pipe", "full"):
        if closed == "pipe":
            reader, writer = os.pipe()
            os.close(reader)
            target = os.fdopen(writer, "wb")
        else:
            target = open("/dev/full", "wb")
        done = subprocess.run([test.program, *command], stdout=target, stderr=subprocess.PIPE, check=False, timeout=120)
        try:
            target.close()
        except OSError:
            pass
        test.check(done.returncode == 5, f"{command[0]} with {closed}: status {done.returncode}: {done.stderr}")
        test.check(b"standard output" in done.stderr or b"written" in done.stderr, f"{command[0]}: {done.stderr}")
        count += 1
# A console that cannot be written ends the run, and the recording is whole.
chatty = test.path("chatty")
with open(chatty, "wb") as file:
    file.write(bytes.fromhex("b041 e6e9 ebfa"))
aside = test.path("aside.cvr")
with open("/dev/full", "wb") as full:
    done = subprocess.run([test.program, "record", "-o", aside, "--flat", chatty, "--limit", "300000"], stdin=subprocess.DEVNULL,
                          stdout=full, stderr=subprocess.PIPE, check=False, timeout=120)
test.check(done.returncode == 5, f"a full console: {done.returncode} {done.stderr}")
test.run("verify", aside)
test.check(test.run("replay", aside, "--serial", "file:/dev/full", expect=5).stderr, "no message")
# A file system without room: nothing half-written is left.
done = subprocess.run(["bash", "-c", 'ulimit -f 64; trap "" XFSZ; exec "$@"', "-", test.program, *core, "-o", test.path("core")],
                      capture_output=True, check=False, timeout=120)
test.check(done.returncode == 5 and not os.path.exists(test.path("core")), f"a full disk: {done.returncode} {done.stderr}")
unharmed("a full disk")
# An interrupted export leaves nothing.
long = test.path("long.cvr")
spin = test.path("spin")
with open(spin, "wb") as file:
    file.write(bytes.fromhex("6640 ebfc"))
test.run("record", "-o", long, "--flat", spin, "--limit", "20000000", *quiet)
export = subprocess.Popen([test.program, "export", long, "--format", "trace", "--from", "start", "--to", "end", "-o", test.path("long.txt")],
                          stderr=subprocess.DEVNULL)
while export.poll() is None and not [name for name in os.listdir(test.folder) if name.startswith("long.txt")]:
    time.sleep(0.01)
export.send_signal(signal.SIGTERM)
test.check(export.wait(timeout=60) == 5, f"interrupted: {export.returncode}")
test.check(not [name for name in os.listdir(test.folder) if name.startswith("long.txt")], "an interrupted export leaves a file")

# A hangup ends a recording, which is whole; under nohup it does not.
for ignored in (False, True):
    hung = test.path("hung.cvr")
    recorder = subprocess.Popen([*(["nohup"] if ignored else []), test.program, "record", "-o", hung, "--flat", spin, "--limit", "400000000", *quiet],
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not os.path.exists(hung) or os.path.getsize(hung) == 0:
        time.sleep(0.01)
    recorder.send_signal(signal.SIGHUP)
    test.check(recorder.wait(timeout=120) == 0, f"a hangup: {recorder.returncode}")
    reason = test.json_of(test.run("info", hung, "--json"))["summary"]["exit"]["reason"]
    test.check((reason == "limit") == ignored, f"a hangup{' under nohup' if ignored else ''}: {reason}")
    os.unlink(hung)

# A second one that writes to a recording that is being made is refused, and harms nothing.
first = subprocess.Popen([test.program, "record", "-o", hung, "--flat", spin, "--limit", "4000000000", *quiet],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while not os.path.exists(hung) or os.path.getsize(hung) == 0:
    time.sleep(0.01)
done = test.run("record", "-o", hung, "--flat", spin, "--limit", "1000", *quiet, expect=5)
test.check(b"is being written" in done.stderr, "why a second recorder is refused", done)
first.send_signal(signal.SIGTERM)
test.check(first.wait(timeout=120) == 0, f"stopped: {first.returncode}")
test.run("verify", hung)
# What was interrupted is not equal.
for command in (["replay", hung, *quiet], ["compare", "--engines", "soft,soft", "--limit", "4000000000", "--kind", "flat", spin]):
    begun = subprocess.Popen([test.program, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while begun.poll() is None and str(int(signal.SIGTERM)) not in caught(begun.pid):
        time.sleep(0.002)  # it does not look out for signals yet
    begun.send_signal(signal.SIGTERM)
    said = b"".join(begun.communicate(timeout=120))
    test.check((begun.returncode == 5) == (b"interrupt" in said), f"{command[0]}, interrupted: {begun.returncode} {said}")
    if command[0] == "compare":
        test.check(begun.returncode == 5, f"compare of what never ends: {begun.returncode} {said}")

# Beyond the end is an error that says where the end is.
beyond = str(end + 1)
for command in (["replay", recording, "--to"], ["verify", recording, "--to"], ["verify", recording, "--from"], ["replay", recording, "--from"],
                ["trim", recording, "-o", test.path("t.cvr"), "--to"], ["trim", recording, "-o", test.path("t.cvr"), "--from"],
                ["export", recording, "--format", "trace", "--from", "start", "--to"], ["export", recording, "--format", "vmcore", "-o", test.path("c"), "--at"],
                ["query", "writes", recording, "-a", "0x1000", "--to"], ["query", "executes", recording, "-a", "0x1000", "--from"],
                ["live", recording, "-o", test.path("l.cvr"), *quiet, "--at"]):
    done = test.run(*command, beyond, expect=2)
    test.check(f"{end:,}".encode() in done.stderr, f"{command}: the end is not named", done)
    test.run(*command, "no-such-bookmark", expect=2)
    if "live" not in command:
        test.run(*command, "half", expect=0, seconds=60)
        if "-o" in command:
            os.unlink(command[command.index("-o") + 1])
    count += 1
# Options that say nothing about a format
for options in (["cast", "--at", "5"], ["cast", "--from", "5"], ["cast", "--to", "5"], ["vmcore", "--to", "5", "-o", test.path("c")],
                ["vmcore", "--width", "80", "-o", test.path("c")], ["trace", "--from", "1", "--to", "2", "--height", "20"],
                ["trace", "--from", "1", "--to", "2", "--at", "20"]):
    done = test.run("export", recording, "--format", *options, expect=2)
    test.check(b"goes with" in done.stderr, f"{options}", done)
    count += 1
print(f"{count} refusals")
