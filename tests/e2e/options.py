#!/usr/bin/python3
"""Every value that the program documents for an option works: the list is what the
parser says of itself, so that an option that does not say what it takes, or takes
something nobody has tried, fails here."""
import json
import os
import re
import socket
import struct
import subprocess
import time

from harness import Test

test = Test(__doc__)

guest = test.guest("interrupts64")
module = test.path("module")
with open(module, "wb") as file:
    file.write(b"a module")
flat = test.path("flat.bin")
with open(flat, "wb") as file:
    file.write(bytes.fromhex("b041 e680 b0fe e664 f4"))  # writes a port, then resets
rom = test.path("rom")
with open(rom, "wb") as file:  # resets by port 0xcf9
    program = bytes.fromhex("b006 baf90c ee f4")
    file.write(program.ljust(0xfff0, b"\xf4") + bytes.fromhex("ea000000f0").ljust(16, b"\0"))
with_screen = test.path("screen.cvr")
test.run("record", "-o", with_screen, "--machine", "pc-2", "--serial", "none", "--limit", "5000000", expect=(0, 1))
script = test.path("script")
with open(script, "w") as file:
    file.write("# nothing much\nwait 1ms\nkeys a\nmouse 1 2\nclick left\n")
recording = test.path("recording.cvr")
test.run("record", "-o", recording, "--multiboot", guest, "--serial", "none")
test.run("bookmark", recording, "mark", "20")
going_on = test.path("going-on.cvr")  # its guest has not ended
test.run("record", "-o", going_on, "--multiboot", guest, "--serial", "none", "--limit", "300")
test.run("bookmark", going_on, "mark", "20")
image = test.path("disk.img")
with open(image, "wb") as file:
    file.write(b"a disk" + bytes(100_000))
with_disk = test.path("with-disk.cvr")
test.run("record", "-o", with_disk, "--multiboot", guest, "--serial", "none", "--disk", image)
with_card = test.path("with-card.cvr")
test.run("record", "-o", with_card, "--multiboot", guest, "--serial", "none", "--limit", "300", "--net", "none")
test.run("bookmark", with_card, "mark", "20")
capture = test.path("capture.pcap")
with open(capture, "wb") as file:  # one frame of 60 bytes
    file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1) + struct.pack("<IIII", 1, 0, 60, 60) + bytes(60))
key_file = test.path("key")
with open(key_file, "w", encoding="ascii") as file:
    file.write("a key of 24 bytes or so")
has_kvm = json.loads(test.run("doctor", "--json").stdout)["engines"]["kvm"]["usable"]

fresh_names = 0


def fresh():
    """A name that no file has."""
    global fresh_names
    fresh_names += 1
    return test.path(f"new-{fresh_names}")


def port():
    """One that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# What --net may be; a TAP interface takes an administrator.
NETWORKS = {
    "user,hostfwd=tcp::PORT-:PORT": lambda: f"user,hostfwd=tcp::{port()}-:22",
    "user,tftp=DIR": f"user,tftp={test.folder}", "user,bootfile=NAME": "user,bootfile=boot.ipxe",
    "stream:unix:PATH": lambda: f"stream:unix:{fresh()},listen",
    "stream:tcp:HOST:PORT": lambda: f"stream:tcp:127.0.0.1:{port()},listen",
    "dgram:unix:PATH:PATH": lambda: f"dgram:unix:{fresh()}:{fresh()}",
    "dgram:udp:HOST:PORT:HOST:PORT": lambda: f"dgram:udp:127.0.0.1:{port()}:127.0.0.1:{port()}",
    "tap:IFNAME": None, "pcap:FILE": f"pcap:{capture}", "none,mac=ADDRESS": "none,mac=52:54:00:aa:bb:cc",
}

# What a placeholder may stand for; for one option alone: "COMMAND --option PLACEHOLDER".
SAMPLES = {
    "POSITION": "20", "BOOKMARK": "mark", "FUNCTION": "function:print", "live --at FUNCTION": "function:start", "query packets --from FUNCTION": "function:start", "query packets --to FUNCTION": "function:start", "NUMBER": "2", "STEPS": "2_000_000", "PERCENT": "2.5", "SIZE": "48M",
    "SECONDS": "1000000000", "record --seek-time SECONDS": "0.5", "live --seek-time SECONDS": "0.5", "LEVEL": "3", "ARGUMENTS": "a=1 b", "ADDRESS": "0x100000", "I/N": "1/2", "NAME": "other",
    "file:PATH": lambda: "file:" + fresh(), "unix:PATH": lambda: "unix:" + fresh(), "tcp:ADDRESS:PORT": "tcp:127.0.0.1:0",
    "FILE": recording, "DIR": test.folder, "KEYS": "a\\n<f1><1ms>", "record --script FILE": script, "live --script FILE": script,
    "vnc=ADDRESS:DISPLAY": "vnc=127.0.0.1:" + str(3000 + os.getpid() % 20000), "record --display-password FILE": None,
    "live --display-password FILE": None, "live --display vnc=ADDRESS:DISPLAY": None,  # vnc.py
    "replay --display-password FILE": None, "replay --display vnc=ADDRESS:DISPLAY": None,
    "record --bios FILE": rom, "record --pflash FILE": rom, "record --firmware-dir DIR": None, "record --boot LETTERS": "dc",
    "record --kernel FILE": None, "record --initrd FILE": None, "compare --initrd FILE": None,  # endings_linux.py
    "query writes --address SYMBOL": None, "query executes --address SYMBOL": None, "query value --address SYMBOL": None,
    "record --multiboot FILE": guest, "record --module FILE": module, "record --module FILE,ARGUMENTS": module + ",two words",
    "compare --module FILE": module, "compare --module FILE,ARGUMENTS": module + ",two words",
    "record --flat FILE": flat, "record --flat FILE@ADDRESS": flat + "@0x8000",
    "record --limit POSITION": "500", "live --limit POSITION": "500", "compare --limit POSITION": "500",
    "serve --listen ADDRESS:PORT": "127.0.0.1:0", "serve --symbols FILE": guest,
    "serve --source-dir DIR": test.folder, "api --source-dir DIR": test.folder, "mcp --source-dir DIR": test.folder,
    "api --symbols FILE": guest, "mcp --symbols FILE": guest, "report --symbols FILE": guest, "export --symbols FILE": guest,
    "debug --symbols FILE": None, "debug --vmlinux FILE": None,  # for --gdb: gdb_clients.py, linux_debug_info.py
    **{f"record --disk FILE{keys}": image + keys
       for keys in ("", ",readonly=on", ",format=raw", ",if=ide", ",if=ahci", ",if=virtio")},
    "record --floppy FILE": image, "record --floppy FILE,readonly=on": image + ",readonly=on", "record --floppy FILE,format=raw": image + ",format=raw",
    "query io --port ADDRESS": "0x3f8", "query io --device NAME": "uart0", "query io --mmio ADDRESS": "0xfee00000", "query io --length NUMBER": "8",
    "record --cdrom FILE": image, "record --cdrom FILE,format=raw": image + ",format=raw",
    "export --disk NUMBER": "0", "export --base FILE": image,
    **{f"{command} --net {shown}": value for command in ("record", "live") for shown, value in NETWORKS.items()},
    **{f"{command} --net {shown}": value for command in ("backup",) for shown, value in NETWORKS.items()},
    "PATH": fresh, "tcp:HOST:PORT": lambda: f"tcp:127.0.0.1:{port()}",
    **{f"{command} --psk-file FILE": key_file for command in ("record", "live", "backup", "arbiter")},
    "EXPRESSION": "tcp port 80",
    "MILLISECONDS": "1.5", "switch --for SECONDS": "0.1",
    "merge --into FILE": None,  # shards.py
    "query writes --length NUMBER": "8", "query executes --length NUMBER": "8",
}

def replicated(option, value):
    """What goes with an option of a replication; nobody is at the other end."""
    rest = ["--psk-file", key_file] if option in ("--replicate", "--arbiter", "--listen") and value.startswith("tcp:") else []
    return rest + (["--replicate", f"unix:{fresh()}"] if option in ("--psk-file", "--arbiter", "--control") else [])


# The rest of a command line that works, for an option and its value.
def line(command, option, value):
    new = fresh()
    own = {"--output": []}.get(option)
    out = own if own is not None else ["-o", new]
    if command == "run" and option == "--keep":
        out = []
    if command in ("record", "run"):
        kind = {"--flat": [], "--multiboot": []}.get(option, ["--multiboot", guest])
        if option in ("--rtc", "--seed", "--idle"):
            kind = ["--flat", flat]
        if option in ("--keys", "--script", "--display"):
            kind += ["--machine", "pc-2"]
        if option in ("--bios", "--pflash", "--firmware"):
            kind = ["--no-reboot"]
        if option == "--firmware":
            kind += ["--machine", "pc-2"]
        if option == "--boot":
            kind = ["--bios", rom, "--no-reboot"]
        kind += replicated(option, value)
        return [*kind, *out, *([] if option == "--serial" else ["--serial", "none"]),
                *([] if option == "--limit" else ["--limit", "20000000"])]
    if command == "live":
        return [with_card if option in ("--net", "--keys", "--script") else going_on, *out, *replicated(option, value), *([] if option == "--at" else ["--at", "20"]), *([] if option == "--serial" else ["--serial", "none"]),
                *([] if option == "--limit" else ["--limit", "20000000"])]
    if command == "export":
        if value == "pcapng":
            return [with_card, *out]
        if option in ("--disk", "--base", "--partial") or value in ("raw", "qcow2"):
            return [with_disk, *([] if option == "--format" else ["--format", "raw"]), *out]
        if value in ("png", "screen-text"):
            return [with_screen, *out]
        format = {"--from": "trace", "--to": "trace", "--width": "cast", "--height": "cast", "--at": "vmcore",
                  "--every": "folded", "--symbols": "chrome-trace", "--shard": "folded"}.get(option, "cast")
        rest = [] if option == "--format" else ["--format", format]
        if "trace" in (format, value):
            rest += [*([] if option == "--from" else ["--from", "start"]), *([] if option == "--to" else ["--to", "end"])]
            if option == "--from" and value == "end":
                rest[-1] = "end"
        return [recording, *rest, *out]
    if command in ("index", "report"):
        return [recording, *out]
    if command in ("pack", "trim"):
        return [recording, *out]
    if command == "symbols":
        return [recording, *out]
    if command == "query inputs":
        return [recording]
    if command == "query packets":
        return [with_card, *(["--json"] if option == "--shard" else [])]
    if command == "query io":
        return [recording, *([] if option in ("--port", "--mmio", "--device") else ["--port", "0x3f8"])]
    if command.startswith("query") and command != "query merge":
        return [recording, *([] if option == "--address" else ["--address", "0x100000"])]
    if command == "backup":
        return [*out, *([] if option == "--listen" else ["--listen", f"unix:{fresh()}"]),
                *([] if option == "--serial" else ["--serial", "none"]), *replicated(option, value)]
    if command == "arbiter":
        return [*([] if option == "--listen" else ["--listen", f"unix:{fresh()}"]),
                *([] if option == "--claims" else ["--claims", fresh()]), *([] if option != "--listen" else replicated(option, value))]
    if command == "switch":
        return [*([] if option == "--listen" else ["--listen", "unix:" + fresh()]), *([] if option == "--for" else ["--for", "0.01"])]
    if command == "diff":
        return [recording, recording]
    if command == "compare":
        return [guest, *([] if option == "--engines" else ["--engines", "soft,soft"]),
                *([] if option == "--limit" else ["--limit", "2000"]), *([] if option != "--append" else ["--kind", "multiboot"])]
    return [recording]


def literal(value):
    """Typed as it stands: it has no placeholder in capitals, but for units as in 500M."""
    return not re.search(r"[A-Z]{2,}|^[A-Z]+$|\b[A-Z]/[A-Z]\b", value)


tried = 0
skipped = set()


def try_value(command, option, shown):
    """Tries one documented value of one option."""
    global tried
    key = f"{command} {option} {shown}"
    if option == "--output":
        value = fresh()
    elif literal(shown):
        value = shown
    else:
        test.check(key in SAMPLES or shown in SAMPLES, f"{key}: nothing tries this value; say here what it may be")
        value = SAMPLES.get(key, SAMPLES.get(shown))
        if value is None:
            skipped.add(key)
            return
        if callable(value):
            value = value()
    if command == "compare" and option == "--kind" and value not in ("auto", "multiboot"):
        rest = [flat if value == "flat" else None]
        if rest[0] is None:
            skipped.add(key)
            return
        rest += ["--engines", "soft,soft", "--limit", "2000"]
    else:
        rest = line(command, option, value)
    if command == "query":  # its own options come before the question
        test.run("query", option, value, "writes", recording, "-a", "0x100000", seconds=60)
        tried += 1
        return
    if command in ("backup", "arbiter"):
        return try_server(command, [*rest, option, value], key)
    uses_kvm = "kvm" in value
    seconds = 60
    if command == "debug":
        return try_debug(option, value, rest, key)
    if command == "serve":
        return try_serve([*rest, option, value], key)
    if command == "api" and value.startswith("unix:"):
        server = subprocess.Popen([test.program, "api", *rest, option, value], stderr=subprocess.PIPE)
        said = server.stderr.readline()
        server.terminate()
        server.wait(timeout=30)
        test.check(b"listening" in said, f"{key}: {said}")
        tried += 1
        return
    if command.startswith("linux") or command == "symbols":
        # There is no Linux here; that the option is understood is seen by what is missed.
        done = test.run(*command.split(), *rest, option, value, expect=3, seconds=seconds)
        test.check(b"Linux" in done.stderr or b"kernel" in done.stderr, f"{key}: another refusal", done)
    else:
        wanted = (0, 1) if not uses_kvm or has_kvm else (0, 1, 3, 5)
        wanted += (4,) if command == "compare" and uses_kvm else ()
        done = test.run(*command.split(), *rest, option, value, expect=wanted, seconds=seconds)
    tried += 1


def try_serve(arguments, key):
    """It serves, and ends when it is told to."""
    global tried
    server = subprocess.Popen([test.program, "serve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    said = server.stdout.readline()
    server.terminate()
    test.check(server.wait(timeout=60) == 0 and b"#token=" in said, f"{key}: {said}")
    server.stdout.close()
    tried += 1


def try_debug(option, value, rest, key):
    """The server is there, and gone when its client is."""
    global tried
    listen = [] if option == "--listen" else ["--listen", "stdio"]
    tail = [option, value] if value is not None else []
    if option == "--listen" and value != "stdio":
        server = subprocess.Popen([test.program, "debug", *rest, option, value], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        said = server.stderr.readline()
        server.terminate()
        server.wait(timeout=30)
        test.check(b"target remote" in said, f"{key}: {said}")
    else:
        test.run("debug", *rest, *listen, *tail, seconds=60, given=b"$D#44")
    tried += 1


def try_server(command, rest, key):
    """It waits for others, until a signal ends it."""
    global tried
    server = subprocess.Popen([test.program, command, *rest], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        server.wait(timeout=0.2)
        test.fail(f"{key}: it ended: {server.stderr.read().decode()}")
    except subprocess.TimeoutExpired:
        server.terminate()
    said = server.communicate(timeout=60)[1].decode()
    test.check(server.returncode == (5 if command == "backup" else 0), f"{key}: {said}")
    tried += 1


def try_flag(command, name, key):
    """A flag needs no value; those that start or wait for something are tried elsewhere."""
    global tried
    if name in ("--help", "--version", "--gdb", "--keep", "--delete", "--move", "--bytes-only", "--open"):
        return
    if command == "status":  # of a run that is there: replica_kills.py
        return
    rest = line(command, name, "")
    if command == "serve":
        return try_serve([*rest, name], key)
    if command == "backup":
        return try_server(command, [*rest, name], key)
    if command == "query":
        test.run("query", name, "writes", recording, "-a", "0x100000", seconds=60)
        tried += 1
        return
    if command == "debug":
        return try_debug(name, None, [*rest, name], key)
    if command in ("query merge", "merge"):
        return
    if command == "diff":
        rest = [recording, recording]
    if command in ("doctor",):
        rest = []
    linux = command.startswith("linux") or command == "symbols"
    done = test.run(*command.split(), *rest, name, expect=3 if linux else (0, 1), seconds=60)
    tried += 1


def walk(command, path):
    for option in command["options"] + command["positionals"]:
        names = option["names"] or [option.get("name")]
        name = names[-1]
        key = f"{' '.join(path)} {name}"
        if option["flag"] or option["takes_value_after_equals"]:
            try_flag(" ".join(path), name, key)
            continue
        test.check(option["values"] and option["values"] not in ("TEXT", "INT", "UINT", "FLOAT"),
                   f"{key} does not say what it takes (type_name)")
        if not option["names"]:
            continue  # what a command is about; every line here has one
        if path == ["run"] and name not in ("--output", "--keep"):
            continue  # as of record; see below
        for shown in option["values"].split("|"):
            try_value(" ".join(path), name, shown)
    for below in command["commands"]:
        walk(below, [*path, below["name"]])


began = time.monotonic()
manual = json.loads(test.run("manual").stdout)
walk(manual, [])
of = {command["name"]: [(option["names"], option["values"]) for option in command["options"]] for command in manual["commands"]}
test.check(of["run"] == of["record"], "a run takes other options than a recording")
test.check(tried > 90, f"only {tried} values were tried")

# What the issue was opened for.
before = int(time.time())
out = fresh()
test.run("record", "-o", out, "--flat", flat, "--serial", "none", "--rtc", "now")
clock = json.loads(test.run("info", out, "--json").stdout)["metadata"]["machine"]["rtc_start_unix_seconds"]
test.check(before <= clock <= int(time.time()), f"--rtc now starts the clock at {clock}")
test.check(os.path.exists(out), "no recording")
print(f"{tried} documented values work ({time.monotonic() - began:.0f} s); for a Linux guest only: {', '.join(sorted(skipped))}")
