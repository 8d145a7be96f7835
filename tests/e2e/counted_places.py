#!/usr/bin/python3
"""A recording whose events have counted places gets its positions from the first
command that needs them, and is an ordinary recording from then on; where a place
is never met, the file stays as it was and the message says which event."""
import os

from harness import Test

test = Test(__doc__, extra=lambda parser: parser.add_argument("--record-counted", required=True))
MAKER = os.path.abspath(test.arguments.record_counted)
guest = test.guest("interrupts64")


def counted(name, seed, *how):
    """A recording with counted places; its path, where it truly ends, its events."""
    path = test.path(name)
    done = test.run(guest, path, seed, 1500, *how, program=MAKER)
    end, events = (int(word) for word in done.stdout.split())
    return path, end, events


def content(path):
    with open(path, "rb") as file:
        return file.read()


def info(path):
    return test.json_of(test.run("info", path, "--json"))


def described_as_counted(path, events):
    facts = info(path)
    test.check(facts["counted_events"] == events and facts["end"] == 0, f"info says {facts}")
    done = test.run("info", path)
    test.check(b"events are counted" in done.stdout, "info does not say that places are counted", done)


# Each of these is the first to be used.
COMMANDS = {
    "replay": ["replay", "FILE", "--serial", "none"],
    "verify": ["verify", "FILE"],
    "index": ["index", "FILE"],
    "query": ["query", "writes", "FILE", "--address", "0x100000"],
    "export": ["export", "FILE", "--format", "cast", "-o", test.path("out.cast")],
    "debug": ["debug", "FILE", "--listen", "stdio"],
}
for seed, (name, command) in enumerate(COMMANDS.items(), start=1):
    path, end, events = counted(f"{name}.cvr", seed)
    described_as_counted(path, events)
    os.chmod(path, 0o640)
    first = test.run(*(path if word == "FILE" else word for word in command))
    said = first.stderr.decode()
    test.check("counted places; finding their positions" in said, f"{name} does not say what it does", first)
    test.check(f"{events:,} events have positions now, up to {end:,}" in said, f"{name}: not {events} up to {end}", first)
    test.check(os.stat(path).st_mode & 0o777 == 0o640, f"{name}: the file's permissions changed")
    facts = info(path)
    test.check(facts["counted_events"] == 0 and facts["end"] == end and facts["finished"],
               f"{name}: info says {facts}")
    test.check(0 < sum(facts["inputs"].values()) <= events, f"{name}: other inputs than were recorded")
    before = content(path)
    second = test.run("replay", path, "--serial", "none")
    test.check("counted" not in second.stderr.decode(), f"{name}: positions were found twice", second)
    test.run("verify", path)
    test.check(content(path) == before, f"{name}: an ordinary recording was changed")

# Looking at the bytes alone changes nothing, and what copies a recording refuses it.
path, end, events = counted("looked-at.cvr", 20)
before = content(path)
test.run("verify", path, "--bytes-only")
for command in (["pack", path, test.path("packed.cvr")], ["bookmark", path, "here", "0"]):
    done = test.run(*command, expect=3)
    test.check("counted places" in done.stderr.decode(), "no reason is given", done)
test.check(content(path) == before, "a command that only looks changed the file")

# Two that need positions at once: both get them.
one, two = counted("one.cvr", 21), counted("two.cvr", 21)
done = test.run("diff", one[0], two[0])
test.check(info(one[0])["counted_events"] == 0 == info(two[0])["counted_events"], "diff left places counted", done)

# A recorder that was killed: up to its last whole chunk.
path, end, events = counted("killed.cvr", 22, "killed")
test.run("verify", path)
test.check(0 < info(path)["end"] <= end, "nothing is left of a killed recording")

# A damaged log is refused and stays as it is.
path, end, events = counted("damaged.cvr", 23)
data = bytearray(content(path))
log = data.index(b"CVK\x9e" + (1 << 31 | 17).to_bytes(4, "little"))
data[log + 56 + 20] ^= 0x10
with open(path, "wb") as file:
    file.write(data)
done = test.run("replay", path, "--serial", "none", expect=3)
test.check(b"counted log" in done.stderr or b"checksum" in done.stderr, "the damage is not named", done)
test.check(content(path) == bytes(data), "a damaged recording was replaced", done)

# In a folder that cannot be written (by anybody but root).
if os.geteuid() != 0:
    path, end, events = counted("kept.cvr", 24)
    folder = test.path("closed")
    os.mkdir(folder)
    os.rename(path, os.path.join(folder, "kept.cvr"))
    os.chmod(folder, 0o555)
    done = test.run("replay", os.path.join(folder, "kept.cvr"), "--serial", "none", expect=5)
    os.chmod(folder, 0o755)

left = [name for name in os.listdir(test.folder) if name.endswith(".new")]
test.check(not left, f"left behind: {left}")
print(f"{len(COMMANDS)} commands gave a recording its positions")
