#!/usr/bin/python3
"""Fault tolerance beyond one backup that takes over: two backups of which one goes on and the
other follows it, a run that keeps no recording, recordings of which only the last stretch is
kept, a disk that fails on one side, a machine that differs, and a debugger in the past of a
machine that lives."""
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from harness import PATIENCE, Test
from replicas import READ, SPIN, WRITE, Counter, Machines, counter32

test = Test(__doc__)
# A run that is killed leaves its log where temporary files are.
os.environ["TMPDIR"] = test.folder
machines = Machines(test)
image = counter32(test)
GUEST = ["--multiboot", image, "--memory", "4M"]
switch, segment = machines.segment()
ARBITER = ["--arbiter", f"file:{test.path('claim')}"]
NET = ["--net", f"stream:unix:{segment}", "--serial", "none"]


def place(name):
    return f"unix:{test.path(name)}"


def control(name):
    return test.path(name + ".control")


def backup(name, *replicate, options=()):
    behind = [word for other in replicate for word in ("--replicate", place(other))] or ["--replicate", place("nobody")]
    return machines.start(name, "backup", "--listen", place(name), "-o", test.path(name + ".cvr"), "--control", control(name), *ARBITER,
                          *NET, *behind, *options)


def primary(name, *replicate, command="record", options=()):
    behind = [word for other in replicate for word in ("--replicate", place(other))]
    output = [] if command == "run" else ["-o", test.path(name + ".cvr")]
    return machines.start(name, command, *output, *GUEST, *NET, *behind, *ARBITER, "--control", control(name), *options)


def guarded(name, count=1):
    states = [peer["state"] for peer in machines.status(control(name)).get("backups", [])]
    return states.count("guarded") == count


def wait_for_guard(name, count=1):
    machines.wait_until(lambda: guarded(name, count), f"{name} is guarded by {count}")


def is_primary(name):
    return machines.status(control(name)).get("role") == "primary"


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def end(process):
    process.terminate()
    machines.check(process.wait(timeout=60 * PATIENCE) == 0, f"{process.name} does not end well")


def verified(name):
    said = test.json_of(test.run("verify", test.path(name + ".cvr"), "--json"))
    machines.check(said["result"] == "identical", f"{name} is verified to {said}")


def connected(process):
    counter = Counter(machines, segment, lambda: process.poll() is None)
    counter.connect()
    counter.count_for(0.05)
    return counter


def two_backups():
    """The primary of two is killed: one goes on, the other is its backup, and takes over when
    that one is killed as well."""
    first = primary("t0", "t1", "t2", command="run")
    backups = {"t1": backup("t1", "t2"), "t2": backup("t2", "t1")}
    counter = connected(first)
    wait_for_guard("t0", 2)
    counter.count_for(0.1)
    machines.check(not any(name.startswith("t0") and name.endswith(".cvr") for name in os.listdir(test.folder)), "a run has a recording")
    kill(first)
    counter.count_for(0.05)
    heir = machines.wait_until(lambda: next(filter(is_primary, backups), None), "one of two goes on", counter.count)
    other = "t2" if heir == "t1" else "t1"
    wait_for_guard(heir)
    said = machines.log(other)
    machines.check("goes on" in said and not is_primary(other), f"{other} does not say who goes on")
    counter.count_for(0.05)
    kill(backups[heir])
    counter.count_for(0.05)
    machines.check(is_primary(other), f"{other} has not gone on")
    # The one before it leaves where it stood, and what it recorded until then.
    end(backups[other])
    verified(other)


def two_of_which_one_is_lost():
    """An output waits for both; one that stands still is left, and the other protects on."""
    first = primary("l0", "l1", "l2")
    lost, kept = backup("l1"), backup("l2")
    counter = connected(first)
    wait_for_guard("l0", 2)
    lost.send_signal(signal.SIGSTOP)
    counter.count_for(0.05)
    wait_for_guard("l0", 1)
    longest = max(counter.waits)
    machines.check(longest > 0.3, f"outputs left without a backup's word: {longest} s")
    lost.send_signal(signal.SIGCONT)
    wait_for_guard("l0", 2)
    done = test.run("hand-over", control("l0"))
    machines.check(first.wait(timeout=30 * PATIENCE) == 0, f"no hand-over to one of two: {done.stderr}")
    counter.count_for(0.05)
    live = [name for name in ("l1", "l2") if is_primary(name)]
    machines.check(len(live) == 1, f"live are {live}")
    for process in (lost, kept):
        (end if is_primary(process.name) else kill)(process)
    verified(live[0])


def kept_stretches():
    """The log goes on through the segments of a flight recording, also of the survivor."""
    keep = ["--keep", "100ms", "--checkpoint-every", "400000"]
    first, second = primary("k0", "k1", options=keep), backup("k1", "k2", options=["--keep", "100ms"])
    counter = connected(first)
    wait_for_guard("k0")
    for _ in range(6):
        counter.ask(SPIN | 0x80000)
        counter.count_for(0.02)
    machines.check(os.path.exists(test.path("k0.cvr.older")), "the primary's recording has no second segment")
    wait_for_guard("k0")
    kill(first)
    counter.count_for(0.05)
    third = backup("k2")
    wait_for_guard("k1")
    for _ in range(6):
        counter.ask(SPIN | 0x80000)
        counter.count_for(0.02)
    machines.check(os.path.exists(test.path("k1.cvr.older")), "the survivor's recording has no second segment")
    end(second)
    machines.check(third.wait(timeout=30 * PATIENCE) == 0, "the last backup does not end with the run")
    info = test.json_of(test.run("info", test.path("k1.cvr"), "--json"))
    machines.check(info["start"] > 1_000_000, f"all was kept: it begins at {info['start']}")
    for name in ("k1", "k2"):
        verified(name)


def disks():
    """What a guest wrote is its machine's; a block that could not be read on one side could not
    on the other; and the survivor reads on from its own image."""
    content = b"".join(n.to_bytes(4, "little") * 128 for n in range(512))
    disk, of_primary = test.path("disk.img"), test.path("primary.img")
    with open(disk, "wb") as file:
        file.write(content)
    first = primary("d0", "d1", options=["--disk", disk])
    counter = connected(first)
    # What the primary has open is one file, and what the backup finds another.
    os.rename(disk, of_primary)
    with open(disk, "wb") as file:
        file.write(content)
    second = backup("d1")
    wait_for_guard("d0")
    machines.check(counter.ask(READ | 5) == (0, 5), "a sector is not read")
    machines.check(counter.ask(WRITE | 8)[0] == 0, "a sector is not written")
    os.truncate(of_primary, 256 * 512)
    failed = counter.ask(READ | 300)
    machines.check(failed[0] != 0, f"a sector that is not there is read: {failed}")
    counter.count()
    wait_for_guard("d0")
    kill(first)
    counter.count_for(0.05)
    machines.check(is_primary("d1"), "the backup has not gone on")
    machines.check(counter.ask(READ | 5) == (0, 5), "what was read is not there after the takeover")
    machines.check(counter.ask(READ | 8) == (0, WRITE | 8), "what was written is not there after the takeover")
    machines.check(counter.ask(READ | 400) == (0, 400), "the survivor does not read its own image")
    end(second)
    verified("d1")


def spoil_memory(process):
    """Changes a byte of the guest's that the guest changes, too, so that it is looked at."""
    found = 0
    with open(f"/proc/{process.pid}/maps", encoding="ascii") as maps, open(f"/proc/{process.pid}/mem", "rb+", buffering=0) as memory:
        for line in maps:
            fields = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if not fields:
                continue
            begin, end_at = (int(text, 16) for text in fields.groups())
            try:
                memory.seek(begin)
                data = memory.read(end_at - begin)
                for at in (match.start() for match in re.finditer(b"counter32 is here: ", data)):
                    memory.seek(begin + at + 24)
                    memory.write(b"!")
                    found += 1
            except OSError:
                continue
    machines.check(found > 0, "the guest is not found in the backup's memory")


def divergence():
    """A backup whose machine differs says so and ends; the primary goes on and gets another."""
    first, second = primary("v0", "v1", options=["--checkpoint-every", "20000"]), backup("v1")
    counter = connected(first)
    wait_for_guard("v0")
    spoil_memory(second)
    begun = time.monotonic()
    machines.wait_until(lambda: second.poll() is not None, "a backup that differs ends", counter.count)
    took = time.monotonic() - begun
    machines.check(second.returncode == 4 and "differs from the primary's at position" in machines.log("v1"), "the backup does not say why")
    machines.wait_until(lambda: "the backup's machine differs" in machines.log("v0"), "the primary says it", counter.count)
    counter.count_for(0.05)
    another = machines.start("v1b", "backup", "--listen", place("v1"), "-o", test.path("v1b.cvr"), *NET, *ARBITER)
    wait_for_guard("v0")
    end(first)
    machines.check(another.wait(timeout=30 * PATIENCE) == 0, "the other backup does not end with the run")
    verified("v0")
    print(f"a machine that differed was found after {took:.2f} s")


def debugger():
    """The backup's recording is opened while the machine lives, and travelled in."""
    first, second = primary("g0", "g1"), backup("g1")
    counter = connected(first)
    wait_for_guard("g0")
    counter.count_for(0.2)
    script = ["target remote | " + f"{test.program} debug {test.path('g1.cvr')} --listen stdio --at end", "monitor when",
              "reverse-stepi", "monitor when"]
    gdb = shutil.which("gdb")
    if gdb:
        done = test.run("-nx", "-q", "-batch", *(word for line in script for word in ("-ex", line)), program=gdb, expect=None)
        positions = [int(text.replace(b",", b"")) for text in re.findall(rb"position ([\d,]+) of", done.stdout + done.stderr)]
        machines.check(len(positions) >= 2 and positions[-1] < positions[-2], f"gdb does not travel: {done.stdout} {done.stderr}")
    test.run("verify", test.path("g1.cvr"), expect=(0, 3))
    asked = b'{"jsonrpc":"2.0","id":1,"method":"replication"}\n'
    done = test.run("api", test.path("g1.cvr"), "--control", control("g0"), given=asked)
    run = json.loads(done.stdout.splitlines()[0])["result"]["run"]
    machines.check(run["role"] == "primary" and run["state"] == "guarded", f"the API says another thing of the run: {run}")
    counter.count_for(0.05)
    machines.check(guarded("g0"), "the machine is no longer guarded")
    end(first)
    machines.check(second.wait(timeout=30 * PATIENCE) == 0, "the backup does not end with the run")


def other_controls():
    """Whoever answers at a control socket and is no run: nothing of it is passed on, and nobody waits."""
    for number, (answer, run) in enumerate(((b'\xef\xbb\xbf{"state":"x"}\r\n', {"state": "x"}), (b"\x1b[2Jno JSON\n", None), (b"[1]\n", None),
                                            (b"[" * 60000 + b"\n", None), (b"", None), (b'{"a":' * 9000 + b"1" + b"}" * 9000 + b"\n", {}))):
        path = test.path(f"other{number}")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()

        def serve(listener=listener, answer=answer):
            kept = []
            while True:
                kept.append(listener.accept()[0])
                kept[-1].sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        began = time.monotonic()
        done = test.run("status", path, expect=None)
        machines.check(time.monotonic() - began < 10 * PATIENCE, f"status waits for {answer[:20]}")
        machines.check(done.returncode == (0 if run is not None else 3 if answer else 5), f"status of {answer[:20]}: {done}")
        machines.check(b"\x1b" not in done.stdout + done.stderr, f"a terminal would obey: {done}")
        asked = b'{"jsonrpc":"2.0","id":1,"method":"replication"}\n'
        done = test.run("api", test.path("g1.cvr"), "--control", path, given=asked)
        got = json.loads(done.stdout.splitlines()[0])["result"]
        machines.check((got["run"] is None) == (run is None) and (got["trouble"] is None) == (run is not None), f"{answer[:20]}: {got}")


def hostile():
    """Whoever connects and speaks something else, or nothing, is left, on both sides; then those
    that are meant come together."""
    def speak(name, said):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(20 * PATIENCE)
            peer.connect(test.path(name))
            try:
                peer.sendall(said)
                while peer.recv(4096):
                    pass
            except ConnectionError:
                pass

    def pretend(listener, said):
        """Be a backup that says this to whoever comes, and is left for it."""
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(20 * PATIENCE)
            try:
                peer.sendall(said)
                while peer.recv(4096):
                    pass
            except ConnectionError:
                pass

    chance = random.Random(18)
    words = [b"", b"GET / HTTP/1.1\r\n\r\n" * 8, b"CVR\x1a" + b"\xff" * 200, bytes(1000), chance.randbytes(1 << 16)]
    second = backup("h1")
    machines.wait_until(lambda: machines.is_heard(test.path("h1")), "a backup listens")
    for said in words:
        speak("h1", said)
        machines.check(second.poll() is None, f"the backup has ended, of {said[:40]}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(test.path("h2"))
        listener.listen(1)
        first = primary("h0", "h2", "h1")
        counter = connected(first)
        threads = [threading.Thread(target=lambda: [pretend(listener, said) for said in words], daemon=True)]
        threads[0].start()
        machines.wait_until(lambda: not threads[0].is_alive(), "all pretenders are left", counter.count)
    wait_for_guard("h0")
    kill(first)
    counter.count_for(0.05)
    machines.check(is_primary("h1"), "the backup has not gone on")
    end(second)


for part in (hostile, two_backups, two_of_which_one_is_lost, kept_stretches, disks, divergence, debugger, other_controls):
    part_begun = time.monotonic()
    try:
        part()
    except (ConnectionError, TimeoutError, subprocess.TimeoutExpired) as error:
        test.fail(f"{part.__name__}: {error}: {machines.logs()}")
    machines.kill_all()
    machines.running = [process for process in machines.running if process.poll() is None]
    os.remove(test.path("segment"))
    switch, segment = machines.segment()
    print(f"{part.__name__}: {time.monotonic() - part_begun:.1f} s")
