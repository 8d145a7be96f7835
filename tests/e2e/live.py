#!/usr/bin/python3
"""Going on from a recording with other input, from the command line and from gdb;
and bookmarks made in a debugger."""
import hashlib
import os
import shutil
import signal
import subprocess
import time

from gdb_session import GUESTS, Gdb, travel_guest
from harness import ROOT, Test

test = Test(__doc__)


def info(path):
    return test.json_of(test.run("info", path, "--json"))


def sound(path, *options):
    result = test.json_of(test.run("verify", path, "--json", *options))
    test.check(result["result"] == "identical", f"{path}: {result}")
    return result


def content(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def console(path):
    return test.run("replay", path).stdout


def flat_guest(name):
    object_file, linked, image = test.path(name + ".o"), test.path(name + ".elf"), test.path(name)
    for command in (["gcc", "-m32", "-c", os.path.join(GUESTS, name + ".S"), "-o", object_file],
                    ["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none",
                     "-Wl,--no-warn-rwx-segments", "-Wl,-T," + os.path.join(ROOT, "tests/guests/flat.ld"), object_file,
                     "-o", linked],
                    ["objcopy", "-O", "binary", linked, image]):
        done = subprocess.run(command, capture_output=True, check=False)
        test.check(done.returncode == 0, "the guest does not build", done)
    return image


# ---- from the command line -------------------------------------------------------------

run = test.path("run.cvr")
test.run("record", "-o", run, "--flat", flat_guest("echo16"), "--memory", "1M", "--serial", "stdio", "--checkpoint-every", "50000",
         "--checkpoint-budget", "0", given=b"abcdq")
before, facts = content(run), info(run)
test.check(facts["parent"] is None and facts["machine"]["state_version"] >= 1, f"info: {facts}")
test.check(facts["machine"]["model"] == "pc-1" and facts["machine"]["replayable"], f"info: {facts['machine']}")
test.check(facts["machine"]["state_sections"]["cpu"] == 1, f"info: {facts['machine']}")
end = facts["end"]
AT = 200_000  # three of the five characters have come
test.run("bookmark", run, "three", AT)
before = content(run)


def live(name, *options, expect=0, given=b""):
    path = test.path(name)
    done = test.run("live", run, "-o", path, "--json", *options, expect=expect, given=given)
    return path, test.json_of(done) if done.stdout.strip() else None


for place in ("three", str(AT)):
    path, made = live("new.cvr", "--at", place, "--checkpoint-every", "50000", "--checkpoint-budget", "0", given=b"xyzq")
    test.check(made["start"] == AT and made["exit"] == {"reason": "debug-exit", "code": 0, "port": 0xf4}, f"live reports {made}")
    test.check(console(path) == b"xyzq", f"the new console is {console(path)}")
    facts = info(path)
    parent = facts["parent"]
    test.check(parent["name"] == "run.cvr" and parent["position"] == AT and not parent["changed_by_hand"]
               and parent["file_id"] == info(run)["file_id"], f"the parent is {parent}")
    test.check(facts["start"] == AT and facts["images"] and facts["checkpoints"] > 3, f"info of the new one: {facts}")
    for options in ((), ("--from", str(AT + 100_000)), ("--jobs", "2")):
        test.check(sound(path, *options)["digest"] == made["digest"], "verified to another end")
    test.check("parent      run.cvr" in test.run("info", path).stdout.decode(), "info as text does not show the parent")
digest = test.json_of(test.run("verify", run, "--to", str(AT), "--json"))["digest"]
test.check(digest == parent["digest"], "the parent's digest there is another")

# The same input gives the same run as the parent's, and diff says so.
path, made = live("same.cvr", "--at", "start", given=b"abcdq")
done = test.run("diff", run, path, expect=(0, 4))
test.check(b"parent" not in done.stdout, "diff takes the parent for a difference", done)
test.check(sound(path)["digest"] == sound(run)["digest"], "the same input leads elsewhere")
# From the start, without checkpoints, it still begins with one.
path, made = live("bare.cvr", "--at", "start", "--no-checkpoints", given=b"q")
test.check(info(path)["checkpoints"] == 1 and console(path) == b"q", "no checkpoint to begin with")
sound(path)

# What can be made of a recording can be made of this one.
path, made = live("new.cvr", "--at", "three", "--checkpoint-every", "50000", "--checkpoint-budget", "0", given=b"xyzq")
packed, trimmed = test.path("packed.cvr"), test.path("trimmed.cvr")
test.run("pack", path, packed, "--no-checkpoints")
test.check(info(packed)["parent"]["position"] == AT and info(packed)["images"], "pack loses something")
test.check(sound(packed)["digest"] == made["digest"], "the packed one ends elsewhere")
test.run("trim", path, trimmed, "--from", str(AT + 100_000), "--to", str(AT + 150_000))
sound(trimmed)
# A child of a child, from its end, which a limit made.
path, made = live("limited.cvr", "--at", "three", "--limit", str(AT + 50_000), given=b"X")
test.check(made["exit"]["reason"] == "limit" and made["instructions"] == AT + 50_000, f"limited: {made}")
grandchild = test.path("grandchild.cvr")
test.run("live", path, "-o", grandchild, "--serial", "stdio", given=b"Yq")
test.check(console(path) + console(grandchild) == b"XYq", "a child of a child has another console")
test.check(info(grandchild)["parent"]["name"] == "limited.cvr", "its parent")
sound(grandchild)
# The guest's own failure is the status; a flight recording is one as well.
path, made = live("fault.cvr", "--at", "three", expect=1, given=b"!")
test.check(made["exit"]["reason"] == "triple-fault", f"the fault: {made}")
sound(path)
path, made = live("flight.cvr", "--at", "three", "--keep", "1ms", "--limit", str(AT + 5_000_000))
test.check(AT < made["start"] < AT + 5_000_000, f"flight: {made}")
test.check(sound(path)["digest"] == made["digest"], "the flight recording ends elsewhere")
# No index: nothing but slower.
path, made = live("plain.cvr", "--at", "three", "--no-index", given=b"q")
test.check("interval index" not in [s["type"] for s in info(path)["sections"]], "--no-index keeps an index")

# Errors
for options in (["--at", "end"], ["--at", str(end + 1)], ["--at", "nowhere"], ["--at", "three", "--limit", str(AT)],
                ["--at", "three", "--idle", "perhaps"]):
    live("refused.cvr", *options, expect=2)
    test.check(not os.path.exists(test.path("refused.cvr")), f"{options} leaves a file")
test.run("live", run, "--at", "three", "-o", run, expect=2)
test.run("live", run, "--at", "three", expect=2)
test.run("live", test.path("not-there.cvr"), "-o", test.path("refused.cvr"), expect=3)
letter = test.path("letter.txt")
with open(letter, "w", encoding="utf-8") as file:
    file.write("dear user")
test.run("live", run, "--at", "three", "-o", letter, expect=2)
test.run("live", run, "--at", "three", "-o", test.path("no/such/folder.cvr"), expect=(3, 5))
test.check(content(run) == before, "the parent has changed")

# A recording whose recorder was killed goes on from its end.
killed = test.path("killed.cvr")
with open(run, "rb") as whole, open(killed, "wb") as cut:
    data = whole.read()
    cut.write(data[:len(data) - 200])
test.check(info(killed)["damage"], "the cut recording is whole")
path = test.path("revived.cvr")
test.run("live", killed, "--at", "three", "-o", path, given=b"rq")
test.check(console(path) == b"rq", "the revived run")
sound(path)

# ---- from gdb ----------------------------------------------------------------------------

recording, symbols = travel_guest(test, 64)
gdb = Gdb(test, recording, symbols)
before = content(recording)
LOAD = f'    run("source {os.path.join(ROOT, "scripts/gdb/chronovisor.py")}")\n'
FILE = f'    file = {test.path("gdb-live.cvr")!r}\n'
gdb("a changed variable, live", LOAD + FILE + """    run("break spin"); run("continue"); here, begun = registers(), value("$position")
    run("next"); run("set var rounds = 7")
    changed = value("$position"); text = run("chronovisor go-live " + file)
    check("live from position" in text, "go-live: " + text)
    check("live" in run("chronovisor when"), "when"); equal(value("$position"), changed, "which does not move")
    run("stepi 3"); run("next")
    run("watch sum"); run("continue"); run("delete 2")
    run("chronovisor bookmark changed-sum")
    fails("set var rounds = 8"); text = fails("set $rax = 8"); check("live" in text, "a change by hand: " + text)
    run("tbreak %d" % line_of("spun")); run("continue"); at("spin", "spun", "live runs on")
    equal(value("sum"), 9, "with what was changed"); run("finish"); check(value("counted") == 0, "before the store")
    fails("chronovisor go-live " + file); fails("chronovisor last-write table.sum"); run("chronovisor timeline")
    text = run("chronovisor discard"); check("recorded from position" in text, "discard: " + text)
    equal(value("$position"), begun + (changed - begun), "back where it began"); check(value("rounds") != 7, "on the timeline")
    run("reverse-continue"); equal(registers(), here, "and back to the breakpoint")
    check("live" not in run("chronovisor when"), "not live any more")
""")
child = test.path("gdb-live.cvr")
facts = info(child)
test.check(facts["finished"] and facts["parent"]["changed_by_hand"] and facts["parent"]["name"] == "travel64.cvr",
           f"the recording made from gdb: {facts['parent']}")
test.check([m["name"] for m in facts["bookmarks"]] == ["changed-sum"], f"its bookmarks: {facts['bookmarks']}")
test.check(sound(child)["checkpoints_checked"] >= 2, "too few checkpoints")
Gdb(test, child, symbols)("the live recording", """    equal(value("rounds"), 7, "the change is there from the start")
    run("tbreak %d" % line_of("spun")); run("continue"); equal(value("sum"), 9, "and has its effect")
    run("watch sum"); run("reverse-continue"); equal(value("sum"), 7, "backward too")
""")

FILE = f'    file = {test.path("gdb-end.cvr")!r}\n'
gdb("to the guest's end, through interrupts and steps", LOAD + FILE + """    run("break spin"); run("continue")
    run("chronovisor go-live " + file + " --idle warp"); start = value("$position")
    for count in range(40): run("stepi")
    for count in range(5): run("next")
    run("break factorial"); run("delete"); run("continue")
    text = run("chronovisor when"); check("on a branch" in text, "ended: " + text)
    run("reverse-stepi"); check("branch" not in run("chronovisor when"), "travel goes back to the timeline")
    equal(value("$position"), start, "where it was left")
""")
facts = info(test.path("gdb-end.cvr"))
test.check(facts["finished"] and not facts["parent"]["changed_by_hand"], f"to the end: {facts['parent']}")
test.check(facts["end"] == info(recording)["end"] and sound(test.path("gdb-end.cvr"))["digest"] == sound(recording)["digest"],
           "the unchanged run ends elsewhere")

# Whoever kills the server loses nothing of what had run.
address, killed = test.path("socket"), test.path("gdb-killed.cvr")
server = subprocess.Popen([test.program, "debug", recording, "--listen", "unix:" + address], stderr=subprocess.DEVNULL)
for _ in range(100):
    if os.path.exists(address):
        break
    time.sleep(0.1)
os.environ["SERVER"] = str(server.pid)
os.environ["STOPPED"] = test.path("stopped")
gdb("killed while live", LOAD + f'    file = {killed!r}\n' + """    run("tbreak spin"); run("continue")
    run("chronovisor go-live " + file); run("tbreak %d" % line_of("spun")); run("continue")
    with open(os.environ["STOPPED"], "w") as stopped: stopped.write(str(value("$position")))
    import signal
    os.kill(int(os.environ["SERVER"]), signal.SIGKILL)
    print("ALL CHECKED", flush=True); os._exit(0)
""", connect="target remote " + address)
test.check(server.wait() == -signal.SIGKILL, "the server was not killed")
with open(os.environ["STOPPED"], encoding="utf-8") as file:
    stopped = int(file.read())
facts = info(killed)
test.check(facts["damage"] and facts["end"] == stopped, f"killed at {stopped}, recorded to {facts['end']}")
test.run("replay", killed)

# ---- typing into a live branch ---------------------------------------------------------------

typed = test.path("typed.cvr")
Gdb(test, run)("typing", f'    file = {typed!r}\n' + """    import re, threading, time
    text = run("monitor go-live " + file + " --serial pty"); path = re.search(r"line is (/\\S+)", text).group(1)
    line = os.open(path, os.O_RDWR | os.O_NOCTTY); answer = b""
    os.write(line, b"hi q")
    run("continue")
    while len(answer) < 4: answer += os.read(line, 100)
    equal(answer, b"hi q", "the guest's answer on the terminal")
""", at="three")
test.check(console(typed) == b"hi q", f"typed: {console(typed)}")
sound(typed)
forever = test.path("forever.cvr")
Gdb(test, run)("interrupted", f'    file = {forever!r}\n' + """    import threading, time
    run("monitor go-live " + file)
    threading.Timer(1.0, lambda: os.kill(os.getpid(), 2)).start()
    run("continue"); here = value("$position"); check(here > 1000000, "ran a while: %d" % here)
    run("stepi"); equal(value("$position"), here + 1, "and goes on")
""", at="three")
facts = info(forever)
test.check(facts["finished"] and facts["summary"]["exit"]["reason"] == "interrupted", f"interrupted: {facts['summary']}")
sound(forever)
test.check(content(recording) == before, "the parent has changed under gdb")

# A full disk: the guest does not run on unrecorded, and the timeline is still there.
chatter, full = test.path("chatter.cvr"), test.path("full.cvr")
test.run("record", "-o", chatter, "--flat", flat_guest("chatter16"), "--memory", "1M", "--serial", "none", "--limit", "100000")
Gdb(test, chatter)("a full disk", LOAD + f'    file = {full!r}\n' + """    run("stepi 10"); run("set $rbx = 7"); run("monitor go-live " + file); last = 0
    for count in range(400):
        run("stepi"); here = value("$position")
        if here == last: break
        last = here
    check(here == last, "it ran on"); size = os.path.getsize(file)
    run("continue"); check(value("$position") < last + 1000000, "it ran on unrecorded")
    equal(os.path.getsize(file), size, "nothing is written any more")
    run("chronovisor seek 50000"); equal(value("$position"), 50000, "the timeline"); run("reverse-stepi")
    equal(value("$position"), 49999, "backward")
""", connect=f"target remote | trap '' XFSZ; ulimit -f 12; exec {test.program} debug {chatter} --listen stdio --at 1000")
test.check(info(full)["damage"] and info(full)["start"] == 1010, "what was recorded before the disk was full")
test.run("replay", full)

# ---- bookmarks from the debugger ------------------------------------------------------------------

gdb("bookmarks are kept", LOAD + """    run("tbreak spin"); run("continue")
    text = run("chronovisor bookmark spinning"); check("kept in" in text, "bookmark: " + text)
    text = fails("chronovisor bookmark --move spining"); check("failed" in text, "--move of a name that there is not: " + text)
    fails('chronovisor bookmark "a b"'); fails('monitor bookmark "a b"'); check("a b" not in run("monitor bookmark"), "a name is one word")
    run("stepi 5"); fails("chronovisor bookmark spinning"); fails("chronovisor bookmark 12")
    run("chronovisor bookmark --move spinning"); run("chronovisor bookmark gone"); run("chronovisor bookmark other")
    run("chronovisor bookmark --delete gone"); fails("chronovisor bookmark --delete gone")
    text = run("chronovisor bookmark"); check("spinning" in text and "other" in text and "gone" not in text, "the list: " + text)
    here = value("$position"); run("chronovisor seek start"); run("chronovisor seek spinning"); equal(value("$position"), here, "seek")
    run("tbreak %d" % line_of("spun")); run("continue"); at("spin", "spun", "the open recording is not confused")
    run("reverse-stepi")
""")
names = {mark["name"]: mark["position"] for mark in info(recording)["bookmarks"]}
test.check({"spinning", "other"} <= set(names) and "gone" not in names, f"bookmarks after the session: {names}")
sound(recording)
gdb("and are there again", LOAD + f"""    equal(value("$position"), {names["spinning"]}, "debug --at a bookmark")
    check("spinning" in run("chronovisor bookmark"), "the list"); run("chronovisor bookmark --delete other")
""", at="spinning")
listed = test.run("bookmark", recording).stdout.decode()
test.check("spinning" in listed and "other" not in listed, f"bookmark lists {listed}")
test.run("bookmark", recording, "spinning", "5", expect=2)
done = test.run("bookmark", recording, "spining", "5", "--move", expect=2)
test.check(b"there is no bookmark spining; is it spinning?" in done.stderr, "--move of what is not there", done)
test.run("bookmark", recording, "a b", "5", expect=2)
test.run("bookmark", recording, "spinning", "5", "--move")
test.check({"name": "spinning", "position": 5} in test.json_of(test.run("info", recording, "--json"))["bookmarks"], "--move")
test.run("bookmark", recording, "--delete", "spinning")
for wrong in (["--delete", "spinning"], ["nameless"], ["start", "5"], ["--delete"], ["far", "999999999999"]):
    test.run("bookmark", recording, *wrong, expect=2)
test.check("spinning" not in test.run("bookmark", recording, "--json").stdout.decode(), "--delete")
sound(recording)
if os.geteuid() != 0:
    fixed = test.path("fixed.cvr")
    shutil.copy(recording, fixed)
    os.chmod(fixed, 0o444)
    Gdb(test, fixed, symbols)("a recording that cannot be written", LOAD + """    text = run("chronovisor bookmark mine")
    check("until this server ends" in text, "bookmark: " + text); run("chronovisor seek +10"); run("chronovisor seek mine")
    """)
print("all is well")
