#!/usr/bin/python3
"""Queries and the index from the command line: shards merge to the whole answer,
an index that is missing or damaged is made again, a kill while it is made costs
nothing, and what makes no sense is refused."""
import json
import os
import re
import signal
import subprocess
import time

from harness import Test

test = Test(__doc__)
guest = test.guest("strings64")
bare = test.path("bare.cvr")
test.run("record", "-o", bare, "--multiboot", guest, "--serial", "none", "--checkpoint-every", "700",
         "--checkpoint-budget", "0", "--no-index", expect=(0, 1))
facts = json.loads(test.run("info", bare, "--json").stdout)
test.check(facts["index"]["intervals"] == 0 and facts["checkpoints"] > 3, f"not a recording without index: {facts['index']}")

# Addresses from what really runs: an export of the trace, and the stack.
trace = test.run("export", bare, "--format", "trace", "--from", "start", "--to", "end").stdout.decode()
steps = [line.split(None, 3) for line in trace.splitlines()]
hot = {}
for step in steps:
    hot[step[1]] = hot.get(step[1], 0) + 1
address = max(hot, key=hot.get)
code = int(address, 16)


def asked(kind, where, *more, file=bare):
    done = test.run("query", kind, file, "--address", where, *more, "--json")
    return done.stdout


# executes agrees with the trace: what one instruction did at all its positions
found = json.loads(asked("executes", hex(code)))
positions = {int(step[0]) for step in steps if int(step[1], 16) == code and step[2] != "-"}
test.check(found["count"] == len(found["results"]) > 0, f"count {found['count']}, {len(found['results'])} listed")
test.check({e["position"] for e in found["results"]} <= positions, "executes lists positions that the trace has not")

# Where something is written: find pages by asking for large ranges.
writes = None
for base in range(0x100000, 0x140000, 0x1000):
    done = json.loads(asked("writes", hex(base), "--length", "4096", "--limit", "50"))
    if done["count"] > 20:
        writes = done
        break
test.check(writes is not None, "nothing is written anywhere")
place = writes["results"][len(writes["results"]) // 2]["address"]

answers = 0
for kind, where, more in (("writes", place, ["--length", "3"]), ("executes", hex(code), []), ("value", place, ["--length", "4"]),
                          ("writes", hex(int(place, 16) - 100), ["--length", "200", "--from", "500", "--limit", "7"])):
    for select in ([], ["--first"], ["--last"], ["--count"]):
        whole = asked(kind, where, *more, *select, "--jobs", "1", "--no-index")
        test.check(asked(kind, where, *more, *select, "--jobs", "3") == whole, f"{kind} {select}: another answer on three threads")
        files = []
        for number in (3, 1, 2):
            files.append(test.path(f"shard{number}.json"))
            with open(files[-1], "wb") as file:
                file.write(asked(kind, where, *more, *select, "--shard", f"{number}/3"))
        merged = test.run("query", "merge", *files, "--json")
        test.check(merged.stdout == whole, f"{kind} {select}: shards merge to something else", merged)
        plain = test.run("query", kind, bare, "--address", where, *more, *select).stdout
        test.check(test.run("query", "merge", *files).stdout == plain, f"{kind} {select}: shards merge to other text")
        answers += 1
last = json.loads(asked("value", place, "--length", "4", "--last"))["results"]
every = json.loads(asked("value", place, "--length", "4"))["results"]
test.check(last == every[-1:], "--last is not the last")
test.check(all(a["after"] != a["before"] for a in every), "value lists stores that changed nothing")

# What is refused
with open(files[0], encoding="utf-8") as file:
    shard = json.load(file)
foreign = dict(shard, recording=dict(shard["recording"], id="00" * 16))
with open(test.path("foreign.json"), "w", encoding="utf-8") as file:
    json.dump(foreign, file)
with open(test.path("letter.json"), "w", encoding="utf-8") as file:
    file.write('{"dear": "user"}')
with open(test.path("whole.json"), "wb") as file:
    file.write(whole)
for command, words in (([*files[:2]], "shard 2 of 3 is missing"), ([*files, files[0]], "given twice"),
                       ([*files[:2], test.path("foreign.json")], "another recording"),
                       ([test.path("letter.json")], "not the JSON answer"), ([test.path("whole.json")], "not to a shard"),
                       ([test.path("not-there")], "No such file")):
    done = test.run("query", "merge", *command, expect=3)
    test.check(words in done.stderr.decode() and not done.stdout, f"merge does not say {words!r}", done)
for command in (["query"], ["query", "writes", bare], ["query", "merge"], ["query", "writes", bare, "-a", "soon"],
                ["query", "writes", bare, "-a", "0x10", "-n", "0"], ["query", "value", bare, "-a", "0x10", "-n", "3"],
                ["query", "writes", bare, "-a", "0x10", "--shard", "3/2"], ["query", "writes", bare, "-a", "0x10", "--shard", "x"],
                ["query", "writes", bare, "-a", "0x10", "--first", "--last"], ["query", "writes", bare, "-a", "0x10", "-j", "1000"],
                ["query", "writes", bare, "-a", "0x10", "--from", "9", "--to", "8"], ["query", "executes", bare, "-a", "start_kernel"],
                ["query", "writes", bare, "-a", "0x10", "--limit", "0"], ["index"], ["index", bare, "-j", "many"],
                ["index", bare, "-o", guest], ["index", bare, "-o", bare], ["debug", bare, "--jobs", "x"]):
    done = test.run(*command, expect=2)
    test.check(done.stderr.strip() and not done.stdout.strip(), "no message, or data on stdout", done)
for path in (test.path("not-there"), guest):
    test.run("query", "writes", path, "-a", "0x10", expect=3)
    test.run("index", path, expect=3)

# index: made, complete, of use, and sound
before = asked("value", place, "--length", "4")
copy = test.path("copy.cvr")
report = test.json_of(test.run("index", bare, "-o", copy, "--json"))
test.check(report["built"] == report["intervals"] == report["missing"] > 3, f"index reports {report}")
report = test.json_of(test.run("index", bare, "--json", "--jobs", "2"))
test.check(report["built"] == report["missing"] > 3, f"index reports {report}")
report = test.json_of(test.run("index", bare, "--json"))
test.check(report["built"] == 0 and report["missing"] == 0, f"a complete index is made again: {report}")
facts = json.loads(test.run("info", bare, "--json").stdout)
test.check(facts["index"]["steps"] == facts["end"] - facts["start"], f"info says {facts['index']}")
test.run("verify", bare)
test.run("verify", copy)
done = test.run("query", "value", bare, "--address", place, "--length", "4", "--json")
test.check(done.stdout == before, "with the index the answer is another", done)
searched = [int(n) for n in re.search(rb"searched (\d+) of (\d+)", done.stderr).groups()]
nowhere = test.run("query", "writes", bare, "--address", "0x7fff0000", "--count")
test.check(nowhere.stdout == b"0\n" and b"searched 0 of" in nowhere.stderr, "the index rules out nothing", nowhere)

# Damaged: it is noticed, made again, and left out of a copy.
with open(bare, "rb") as file:
    content = bytearray(file.read())
damaged = test.path("damaged.cvr")
for attempt in range(len(content) - 200, 0, -997):
    bent = bytearray(content)
    bent[attempt] ^= 0x10
    with open(damaged, "wb") as file:
        file.write(bent)
    done = test.run("index", damaged, "--json", expect=(0, 3))
    if done.returncode == 0 and test.json_of(done)["damaged"] > 0:
        break
else:
    test.fail("no index could be damaged")
test.check(test.json_of(done)["built"] > 0, "the damaged index was not made again", done)
found = json.loads(asked("value", place, "--length", "4", file=damaged))
test.check(found["results"] == json.loads(before)["results"], "another answer beside a damaged index")
clean = test.path("clean.cvr")
test.run("index", damaged, "-o", clean)
test.run("verify", clean)

# Killed at any time, the recording opens and is whole, or is cut to what it was.
test.run("record", "-f", "-o", bare, "--multiboot", guest, "--serial", "none", "--checkpoint-every", "300",
         "--checkpoint-budget", "0", "--no-index", expect=(0, 1))
end = json.loads(test.run("info", bare, "--json").stdout)["end"]
with open(bare, "rb") as file:
    original = file.read()
for number in range(12):
    with open(bare, "wb") as file:
        file.write(original)
    running = subprocess.Popen([test.program, "index", bare], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.01 + 0.02 * number)
    running.send_signal(signal.SIGKILL)
    running.wait()
    test.check(json.loads(test.run("info", bare, "--json").stdout)["end"] == end, "a killed index shortened the recording")
print(f"{answers} questions asked in four ways; searched {searched[0]} of {searched[1]} intervals with the index")
