#!/usr/bin/python3
"""Files that are missing, empty, truncated or random, and arguments that make no
sense, get a message and the right exit status: never a crash or a hang."""
import json
import os
import random
import socket
import subprocess
import threading

from harness import Test

test = Test(__doc__)
# Fixed, so that a failure can be repeated.
noise = random.Random(20240229)

boot = test.guest("exceptions64")
with open(boot, "rb") as file:
    boot_bytes = file.read()


def written(name, content):
    path = test.path(name)
    with open(path, "wb") as file:
        file.write(content)
    return path


BAD = [("missing", test.path("not-there")),
       ("a folder", test.folder),
       ("empty", written("empty", b"")),
       ("one byte", written("one", b"\x7f")),
       ("random", written("random", noise.randbytes(100_000))),
       ("zeros", written("zeros", bytes(65536)))]


def refused(status, *command, seconds=60):
    """The command must end with `status`, a message on stderr and nothing on stdout."""
    done = test.run(*command, expect=status, seconds=seconds)
    test.check(done.stderr.strip(), "no message on stderr", done)
    test.check(not done.stdout.strip(), "an error leaves data on stdout", done)
    return done


def record(*arguments):
    return ["record", "-o", test.path("out.cvr"), *arguments, "--serial", "none", "--limit", "1000000"]


count = 0
for name, path in BAD:
    for arguments in (["--kernel", path], ["--multiboot", path], ["--multiboot", boot, "--module", path],
                      ["--flat", path]):
        # Any bytes are a module, and any bytes but none are a flat program.
        if name not in ("missing", "a folder") and ("--module" in arguments or
                                                    ("--flat" in arguments and name != "empty")):
            continue
        done = refused(3, *record(*arguments))
        test.check(os.path.basename(path) in done.stderr.decode(errors="replace"), f"{name}: the message does not name the file", done)
        count += 1
    for command in ("replay", "verify", "info"):
        refused(3, command, path)
        count += 1
    refused(3, "debug", path, "--listen", "stdio")
    refused(3, "live", path, "-o", test.path("live.cvr"), "--serial", "none")
    refused(3, "bookmark", path, "name", "5")
    refused(3, "bookmark", path, "--delete", "name")
    test.check(not os.path.exists(test.path("live.cvr")), f"{name}: live leaves a file")
    count += 4

# A real image, cut anywhere, is refused or is another guest, but never worse.
for number in range(40):
    cut = written("cut", boot_bytes[:noise.randrange(1, len(boot_bytes))])
    test.run(*record("--multiboot", cut), expect=(0, 1, 3), seconds=60)
    bent = bytearray(boot_bytes)
    for _ in range(8):  # headers are at the front
        bent[noise.randrange(0, 0x200)] = noise.randrange(256)
    test.run(*record("--multiboot", written("bent", bytes(bent))), expect=(0, 1, 3), seconds=60)
    count += 2

# A recording, cut anywhere: what is left opens or is refused.
good = test.path("good.cvr")
test.run("record", "-o", good, "--multiboot", boot, "--serial", "none", expect=(0, 1))
with open(good, "rb") as file:
    recorded = file.read()
test.run("verify", good)
for number in range(30):
    cut = written("cut.cvr", recorded[:noise.randrange(0, len(recorded))])
    told = test.run("info", cut, expect=(0, 3), seconds=60)
    checked = test.run("verify", cut, expect=(0, 3), seconds=120)
    # Of a file that was cut off before its images nothing can be replayed, and that is no success.
    lost = b"has no image" in checked.stderr
    test.check((b"has no image" in told.stderr) == lost and (told.returncode == 3 or not lost), "info of a file without images", told)
    bent = bytearray(recorded)
    at = noise.randrange(len(bent))
    bent[at] ^= 1 << noise.randrange(8)
    done = test.run("verify", written("bent.cvr", bytes(bent)), expect=(0, 3, 4), seconds=120)
    count += 3

told = test.run("info", written("cut.cvr", recorded[:600]), expect=3)
test.check(b"guest" in told.stdout and b"nothing can be replayed: the file has no image for kernel" in told.stderr,
           "info of a file without images", told)
facts = json.loads(test.run("info", test.path("cut.cvr"), "--json", expect=3).stdout)
test.check(facts["machine"]["replayable"] is False, f"replayable: {facts}")

# Arguments
for command in ([], ["no-such-command"], ["record"], ["record", "-o", test.path("o.cvr")],
                ["record", "-o", test.path("o.cvr"), "--multiboot", boot, "--flat", boot],
                ["record", "-o", test.path("o.cvr"), "--multiboot", boot, "--memory", "plenty"],
                ["record", "-o", test.path("o.cvr"), "--multiboot", boot, "--memory", "-1"],
                ["record", "-o", test.path("o.cvr"), "--multiboot", boot, "--engine", "steam"],
                ["record", "-o", test.path("o.cvr"), "--multiboot", boot, "--idle", "perhaps"],
                ["record", "-o", test.path("o.cvr"), "--multiboot", boot, "--limit", "x"],
                ["record", "-o", test.path("o.cvr"), "--flat", boot + "@zebra"],
                ["replay"], ["replay", good, "--to", "soon"], ["verify"], ["info"], ["debug"],
                ["debug", good, "--listen", "carrier-pigeon:1"], ["debug", good, "--at", "yesterday"],
                ["info", good, "--no-such-option"], ["live"], ["live", good], ["live", good, "-o", good],
                ["live", good, "-o", test.path("o.cvr"), "--at", "yesterday"],
                ["live", good, "-o", test.path("o.cvr"), "--at", "999999999999"],
                ["live", good, "-o", test.path("o.cvr"), "--at", "5", "--limit", "5"],
                ["live", good, "-o", test.path("o.cvr"), "--at", "5", "--keep", "1 parsec"],
                ["switch", "--listen", "unix:" + test.path("sw"), "--drop", "nan"],
                ["switch", "--listen", "unix:" + test.path("sw"), "--for", "nan"],
                ["live", good, "-o", test.path("o.cvr"), "--at", "5", "--serial", "telegraph"],
                ["live", good, "-o", test.path("o.cvr"), "--at", "end"],
                ["bookmark"], ["bookmark", good, "name"], ["bookmark", good, "end", "5"], ["bookmark", good, "17", "5"],
                ["bookmark", good, "far", "999999999999"], ["bookmark", good, "--delete", "never"],
                ["bookmark", good, "name", "5", "--delete"], ["bookmark", good, "-d"]):
    done = test.run(*command, expect=2, seconds=30)
    test.check(done.stderr.strip(), "no message on stderr", done)
    count += 1

# What is refused says what it is
for said, command in {b'no command "bogus"': ["bogus"], b"record: --output": ["record"], b"UTF-8": record("--multiboot", boot, "--append", os.fsdecode(b"a\xfe")),
                      b"--limit is given nothing": [*record("--multiboot", boot)[:-1], ""], b"name is given nothing": ["bookmark", good, "", "5"],
                      b"to is given nothing": ["verify", good, "--to", ""]}.items():
    done = test.run(*command, expect=2, seconds=30)
    test.check(said in done.stderr, f"the refusal does not say {said}", done)
    count += 1
odd_name = test.path(os.fsdecode(b"kernel\xfe"))
with open(odd_name, "wb") as file:
    file.write(boot_bytes)
test.run(*record("--multiboot", odd_name), expect=2)  # its name is the first word of its line
test.run(*record("--multiboot", odd_name, "--multiboot-argv0", "none"), expect=(0, 1))
for command in (["debug", good, "--gdb", "--symbols", __file__], ["debug", good, "--gdb", "--vmlinux", __file__],
                ["query", "packets", good], ["export", good, "--format", "pcapng", "-o", test.path("none.pcapng")]):
    refused(3, *command)
    count += 1

# A pipe that nobody writes to keeps nobody waiting, and a device is no file
pipe = test.path("pipe")
os.mkfifo(pipe)
for name in (pipe, "/dev/zero"):
    for command in (["info", name], ["verify", name], record("--kernel", name), record("--multiboot", boot, "--module", name),
                    ["record", "-o", test.path("out.cvr"), "--disk", name], ["record", "-o", test.path("out.cvr"), "--net", "pcap:" + name],
                    ["query", "merge", name, name]):
        test.run(*command, expect=3, seconds=20)
        count += 1
test.run("record", "-o", pipe, "--multiboot", boot, "--serial", "none", expect=5, seconds=20)

# What listens at an image's address may be anything
talker = socket.socket(socket.AF_UNIX)
talker.bind(test.path("talker"))
talker.listen()


def talk():
    peer, _ = talker.accept()
    peer.sendall(b"SSH-2.0-what is this doing here\r\n")
    peer.close()


thread = threading.Thread(target=talk)
thread.start()
done = test.run("record", "-o", test.path("out.cvr"), "--disk", "nbd:unix:" + test.path("talker"), expect=3, seconds=30)
test.check(b"is no NBD server" in done.stderr, "a server of something else", done)
thread.join()
count += 1

# The help is data as well
if os.path.exists("/dev/full"):
    for words in (["--help"], ["--version"], ["record", "--help"]):
        with open("/dev/full", "wb") as full:
            status = subprocess.run([test.program, *words], stdout=full, stderr=subprocess.DEVNULL, timeout=30).returncode
        test.check(status == 5, f"{words} into a full device: status {status}")
        count += 1

# Without standard descriptors no file takes their numbers
closed = test.path("closed.cvr")
for how in ("<&- >&- 2>&-", "<&- 2>&-", ">&- 2>&-"):
    subprocess.run(["sh", "-c", f'exec "$0" record -o "$1" --multiboot "$2" {how}', test.program, closed, boot], timeout=60)
    test.run("verify", closed)
    count += 1

# A guest whose #UD handler is undefined itself never retires another step; its
# stack is a segment of its own, so that nothing ever changes.
endless = test.path("endless")
with open(endless, "wb") as file:
    file.write(bytes.fromhex("b80020 8ed0 c7061800207c c7061a000000 0f04").ljust(32, b"\x90") + bytes.fromhex("0f04"))
recording = test.path("endless.cvr")
done = test.run("record", "-o", recording, "--flat", endless, "--memory", "1M", "--serial", "none", "--json", expect=1, seconds=120)
test.check(test.json_of(done)["exit"]["reason"] == "exception-loop", "an endless loop of exceptions", done)
test.run("verify", recording)
count += 1

# Too little memory is the input's fault or the option's, and never fatal
for memory in ("0", "1", "4K", "64K", "1M"):
    test.run(*record("--multiboot", boot, "--memory", memory), expect=(2, 3), seconds=60)
    count += 1
# Too much as well
test.run(*record("--multiboot", boot, "--memory", "1000000G"), expect=(2, 3, 5), seconds=60)
# A limit for a flight recording that its beginning is beyond
large = test.path("large.bin")
with open(large, "wb") as file:
    file.write(os.urandom(3 << 20))
for more, said in ((["--keep", "1M"], True), (["--keep", "8M"], False), (["--keep", "1M", "--reference-images"], False)):
    done = test.run("record", "-f", "-o", test.path("kept.cvr"), "--multiboot", boot, "--module", large, "--serial", "none", "--limit", "1000", *more)
    test.check((b"images that the guest starts from take 3." in done.stderr) == said, "what --keep says", done)
    count += 1
# A recording that cannot be written
refused((3, 5), "record", "-o", test.path("no/such/folder/x.cvr"), "--multiboot", boot, "--serial", "none")
if os.path.exists("/dev/full"):
    test.run("record", "-o", "/dev/full", "--multiboot", boot, "--serial", "none", expect=(3, 5), seconds=60)
print(f"{count + 2} commands ended as they should")
