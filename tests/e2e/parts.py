#!/usr/bin/python3
"""A recording of Linux in parts, with the checkpoints of old ones thinned, is one recording to
every command: while it grows a debugger stands at its end, and what it sees there is what a
replay from the start shows afterwards. Parts that are missing are named; a killed recorder's
parts open. With --seconds the recorder and the debugger go on for so long."""
import json
import os
import random
import signal
import subprocess
import sys
import time

from harness import Test
from raw_client import RawClient

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))), "bench"))
from workload import ENDLESS_INIT  # noqa: E402 pylint: disable=wrong-import-position

test = Test(__doc__, needs_kernel=True, extra=lambda parser: (
    parser.add_argument("--seconds", type=int, default=0), parser.add_argument("--seed", type=int, default=1)))
SECONDS = test.arguments.seconds
dice = random.Random(test.arguments.seed)
if SECONDS:
    init = test.path("init")
    with open(init, "w", encoding="ascii") as file:
        file.write(ENDLESS_INIT)
    guest = test.linux("--init", init)
else:
    guest = test.linux()
RSP = 7  # among the registers of the protocol
PARTED = ["--part-size", "1M" if not SECONDS else "64M", "--seek-time", "2"]


def info(path):
    return test.json_of(test.run("info", path, "--json"))


class Debugger:
    """A server for a recording, and a client of it."""

    def __init__(self, path, at):
        where = test.path(f"debug-{time.monotonic_ns()}")
        self.server = subprocess.Popen([test.program, "debug", path, "--listen", "unix:" + where, "--at", at, "--jobs", "1"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(600):
            if os.path.exists(where):
                break
            if self.server.poll() is not None:
                test.fail("the debugger ended: " + self.server.stderr.read().decode(errors="replace"))
            time.sleep(0.05)
        for left in range(100, -1, -1):
            try:
                self.client = RawClient(where, seconds=300)
                break
            except ConnectionRefusedError:  # the socket is there just before it is listened on
                if left == 0:
                    raise
                time.sleep(0.05)
        self.client.ask("?")

    def position(self):
        return json.loads(self.client.monitor("json when")[0])["position"]

    def seen(self):
        """Where it stands, its registers, and memory around the stack pointer."""
        registers = self.client.ask("g")
        rsp = int.from_bytes(bytes.fromhex(registers[RSP * 16:RSP * 16 + 16]), "little")
        return self.position(), registers, self.client.ask(f"m{rsp & ~0xfff:x},400")

    def back(self):
        self.client.ask("bs")

    def seek(self, position):
        self.client.monitor(f"seek {position}")
        self.client.ask("bc")  # the next resume goes there

    def end(self):
        self.client.close()
        self.server.terminate()
        self.server.communicate(timeout=60)


# A recorder at work, and debuggers that come to its end, look, and step back.
run = test.path("run.cvr")
recorder = subprocess.Popen([test.program, "record", "-o", run, *guest, "--serial", "none", "--json", *PARTED],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
began = time.monotonic()
looked = []
opened = 0
while recorder.poll() is None:
    if SECONDS and time.monotonic() - began > SECONDS:
        recorder.send_signal(signal.SIGINT)
        break
    facts = test.run("info", run, "--json", expect=(0, 3))
    if facts.returncode != 0 or not json.loads(facts.stdout)["checkpoints"]:
        time.sleep(0.1)
        continue
    debugger = Debugger(run, "end")
    opened += 1
    for _ in range(dice.randrange(1, 4)):
        looked.append(debugger.seen())
        debugger.back()
    debugger.end()
out, said = recorder.communicate(timeout=300)
test.check(recorder.returncode == 0, f"record: {said.decode(errors='replace')}")
made = json.loads(out)
end = made["instructions"]
print(f"{opened} debuggers at the growing end, {len(looked)} states, {end:,} steps in {made['parts']} parts")
# A part of 1 MiB cannot hold the guest's memory; that is said, once.
if not SECONDS:
    test.check(said.count(b"run.cvr: its parts will have ") == 1, f"parts that are larger than asked for: {said.decode(errors='replace')}")
test.check(opened >= 2 and made["parts"] >= 3, f"too little happened: {opened} debuggers, {made['parts']} parts")

# One recording: every part sound and whole, and the run the same from end to end.
facts = info(run)
test.check(len(facts["parts"]) == made["parts"] and facts["bytes"] == sum(part["bytes"] for part in facts["parts"]),
           f"info of the parts: {facts['parts']}")
test.check(facts["start"] == 0 and facts["end"] == end and not facts["damage"], f"info: {facts['damage']}")
checked = test.json_of(test.run("verify", run, "--json", seconds=1200))
test.check(checked["digest"] == made["digest"], f"verify: {checked}")
for part in facts["parts"][1:]:
    test.check(test.json_of(test.run("verify", part["file"], "--bytes-only", "--json"))["result"] != "damaged", "a part by itself")
last = facts["parts"][-1]
result = test.json_of(test.run("verify", last["file"], "--json", seconds=600))
test.check(result["digest"] == made["digest"], f"the last part by itself: {result}")

# In one file it is smaller, and says the same.
packed = test.path("packed.cvr")
test.run("pack", run, packed, "--no-checkpoints", "--level", "3", seconds=1200)
test.check(not info(packed)["parts"] and info(packed)["end"] == end, "a packed recording is not one file")
looked.sort()
slow = Debugger(packed, "start")
for position, registers, memory in looked:
    slow.seek(position)
    test.check(slow.seen() == (position, registers, memory), f"at {position:,} the growing recording showed something else")
slow.end()

# Bookmarks, queries, and the disk's worth of parts: as of one file.
test.run("bookmark", run, "half", str(end // 2))
test.check({"name": "half", "position": end // 2} in info(run)["bookmarks"], "a bookmark in a recording of parts")
asked = ["--address", "jiffies_64", "--length", "8", "--from", str(end // 3), "--to", str(end // 3 + 30_000_000), "--json"]
answers = [json.loads(test.run("query", "writes", path, *asked, seconds=300).stdout) for path in (run, packed)]
test.check(answers[0]["count"] == answers[1]["count"] > 0, f"queries: {[answer['count'] for answer in answers]}")

# No command writes over a part of what it reads, by whatever name.
os.symlink(facts["parts"][2]["file"], test.path("link"))
os.link(facts["parts"][1]["file"], test.path("hard"))
sizes = [os.path.getsize(part["file"]) for part in facts["parts"]]
for over in (facts["parts"][1]["file"], test.path("link"), test.path("hard"), run):
    for words in (["export", "--format", "cast", "-f", "-o", over], ["report", "-f", "-o", over]):
        read = facts["parts"][1]["file"] if over == run else run
        refused = test.run(*words, read, expect=2)
        test.check(b"which would be lost" in refused.stderr, "a part may be written over", refused)
    test.run("pack", "-f", run, over, expect=2)
test.check(sizes == [os.path.getsize(part["file"]) for part in facts["parts"]], "a part was written over")

# A part that is missing is named, and what is left on both sides of it opens.
second = facts["parts"][1]
os.rename(second["file"], test.path("away"))
broken = test.run("verify", run, "--bytes-only", expect=3)
test.check(b"part 2 is missing" in broken.stderr, "a missing part is not named", broken)
test.check(info(run)["end"] == facts["parts"][0]["end"], "the first part alone")
test.check(info(facts["parts"][2]["file"])["end"] == end, "the parts behind a missing one")
for put in (os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)):
    put(second["file"])
    broken = test.run("info", run)
    test.check(b"the recording is usable up to" in broken.stdout + broken.stderr, "what is no file in a part's place", broken)
    test.check(info(run)["end"] == facts["parts"][0]["end"], "the first part alone")
    if os.path.isdir(second["file"]):
        os.rmdir(second["file"])
    else:
        os.remove(second["file"])
os.rename(test.path("away"), second["file"])

# Killed in the middle: the parts are there, as far as it got.
dead = test.path("dead.cvr")
recorder = subprocess.Popen([test.program, "record", "-o", dead, *guest, "--serial", "none", *PARTED],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for _ in range(1200):
    if os.path.exists(dead + ".part2") or recorder.poll() is not None:
        break
    time.sleep(0.05)
time.sleep(0.2)
recorder.kill()
recorder.wait()
facts = info(dead)
test.check(not facts["finished"] and facts["damage"], f"a killed recording: {facts['damage']}")
done = test.run("verify", dead, "--json", expect=(0, 3), seconds=600)
test.check(json.loads(done.stdout)["result"].startswith("identical"), "a killed recording does not replay", done)
