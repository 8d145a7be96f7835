#!/usr/bin/python3
"""Linux' own tools in an installed Debian (scripts/build-disk) agree with what a machine with disks
of one kind is said to be: lspci with the table of docs/DEVICES.md, function by function; hdparm with
the disks' identity and speed; evtest with the keys, the mouse and the tablet of a script; blockdev,
dd and sha256sum with images and disc; fio writes at random for a virtual minute and verifies. The
recording verifies without the images, and the disk is at its end what the guest says. Long: not in
the suite; see CONTRIBUTING.md."""
import hashlib
import json
import os
import random
import re
import shutil
import subprocess

from harness import LOGIN, ROOT, Test, skip

PACKAGES = "pciutils,hdparm,evtest,fio"
SCRATCH_BYTES = 256 << 20
FILLED_BYTES = 8 << 20
# The fastest mode that Linux chooses: a PIIX3 has no Ultra DMA.
MODES = {"ide": r"mdma0 mdma1 \*mdma2 udma0 .*udma5", "ahci": r"mdma0 mdma1 mdma2 udma0 .*\*udma5"}
# Nanoseconds a byte, as docs/DEVICES.md has them.
NS_PER_BYTE = {"ide": 10, "ahci": 4, "virtio": 2}
DISKS = {"ide": ("sda", "sdb"), "ahci": ("sda", "sdb"), "virtio": ("vda", "vdb")}
DEVICES = ("tablet", "rng", "console", "hpet")
SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20}
TROUBLE = ("I/O error", "exception Emask", "failed command", "hard resetting", "BUG:", "Oops", "Call Trace", "nobody cared", "timed out")

# What is typed once the tools listen, and what Linux must make of it.
TYPED = """keys aZ7<f5><up>
mouse 300 -12
mouse -5 40 1
click left
click right
point 1000 2000
button left
point 20000 30000
button none
point 32767 0
"""
KEYS = [("KEY_A", 1), ("KEY_A", 0), ("KEY_LEFTSHIFT", 1), ("KEY_Z", 1), ("KEY_Z", 0), ("KEY_LEFTSHIFT", 0), ("KEY_7", 1), ("KEY_7", 0),
        ("KEY_F5", 1), ("KEY_F5", 0), ("KEY_UP", 1), ("KEY_UP", 0)]
MOUSE_BUTTONS = [("BTN_LEFT", 1), ("BTN_LEFT", 0), ("BTN_RIGHT", 1), ("BTN_RIGHT", 0), ("BTN_LEFT", 1), ("BTN_LEFT", 0)]
MOUSE_SUMS = {"REL_X": 295, "REL_Y": 28, "REL_WHEEL": -1}
TABLET_BUTTONS = [("BTN_LEFT", 1), ("BTN_LEFT", 0)]
TABLET_PLACES = {"ABS_X": [1000, 20000, 32767], "ABS_Y": [2000, 30000, 0]}

GUEST = """#!/bin/sh
root=$1 scratch=$2 kind=$3
export LC_ALL=C
part() { echo "=== $1"; }
named() { for e in /sys/class/input/event*; do grep -q "$1" $e/device/name && echo /dev/input/${e##*/}; done; }
echo
part lspci
lspci -nn -vv
part blockdev
for disk in $root $scratch sr0; do echo $disk $(blockdev --getsize64 --getss --getro /dev/$disk); done
part disc
dd if=/dev/sr0 bs=2048 status=none | sha256sum
part filled
dd if=/dev/$scratch bs=1M count=8 iflag=direct status=none | sha256sum
part identity
if [ $kind = virtio ]; then cat /sys/block/$root/serial; echo; cat /sys/block/$scratch/serial; echo; else hdparm -I /dev/$root; fi
part speed
hdparm -t /dev/$scratch
hdparm -T /dev/$scratch
part devices
cat /sys/class/misc/hw_random/rng_current
head -c 64 /dev/hwrng | wc -c
cat /sys/devices/system/clocksource/clocksource0/available_clocksource
echo by virtio > /dev/hvc0
part listening
keyboard=$(named "AT Translated Set 2 keyboard") mouse=$(named Mouse) tablet=$(named "Chronovisor tablet")
timeout -s INT 4 evtest --grab $keyboard > /tmp/keyboard &
timeout -s INT 4 evtest --grab $mouse > /tmp/mouse &
timeout -s INT 4 evtest --grab $tablet > /tmp/tablet &
sleep 1
part press
wait
for which in keyboard mouse tablet; do part $which; cat /tmp/$which; done
part hold
sleep 1
evtest --query $mouse EV_KEY BTN_LEFT
echo "query: $?"
part release
sleep 1
evtest --query $mouse EV_KEY BTN_LEFT
echo "query: $?"
part fio
fio --name=verify --filename=/dev/$scratch --size=16M --bs=16k --direct=1 --ioengine=libaio --iodepth=4 --rw=randwrite --verify=crc32c \\
  --verify_backlog=64 --verify_fatal=1 --time_based --runtime=60 --output-format=json
part written
sha256sum /dev/$scratch
part interrupts
cat /proc/interrupts
part kernel
dmesg --level=emerg,alert,crit,err,warn
part end
poweroff
"""

test = Test(__doc__, extra=lambda parser: (
    parser.add_argument("--image", default=os.path.join(ROOT, ".cache/tools.img"), help=f"made by scripts/build-disk --packages {PACKAGES}"),
    parser.add_argument("--interface", default="virtio", choices=sorted(DISKS)),
    parser.add_argument("--keep", default="", help="where the recording stays; what the guest said stays beside it")))
image, interface = test.arguments.image, test.arguments.interface
if not os.path.exists(image):
    skip(f"there is no {image} (scripts/build-disk --packages {PACKAGES} -o {image})")
if shutil.which("xorriso") is None:
    skip("xorriso is not installed (scripts/setup media)")
seconds = 7200
root, scratch = DISKS[interface]


def sha256(path, count=None):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(count)).hexdigest() if count else hashlib.file_digest(file, "sha256").hexdigest()


# A disk to write to, and a disc with the guest's work on it.
scratch_image, disc, tree = test.path("scratch.img"), test.path("disc.iso"), test.path("tree")
with open(scratch_image, "wb") as file:
    file.write(random.Random(14).randbytes(FILLED_BYTES))
    file.truncate(SCRATCH_BYTES)
os.mkdir(tree)
for name, content in (("work", GUEST.encode()), ("data", random.Random(41).randbytes(4 << 20))):
    with open(os.path.join(tree, name), "wb") as file:
        file.write(content)
subprocess.run(["xorriso", "-as", "mkisofs", "-R", "-quiet", "-o", disc, tree], check=True, capture_output=True)
script = test.path("script")
with open(script, "w", encoding="ascii") as file:
    file.write(LOGIN + f"""keys mount /dev/sr0 /mnt\\n
wait 2s
keys sh /mnt/work {root} {scratch} {interface} > /dev/ttyS0 2>&1\\n
wait-serial === press
wait 500ms
{TYPED}wait-serial === hold
wait 500ms
button left
wait-serial === release
wait 500ms
button none
""")
recording = test.arguments.keep or test.path("tools.cvr")
serial = test.arguments.keep + ".txt" if test.arguments.keep else test.path("serial")
virtio_console = test.path("console")
done = test.run("record", "-o", recording, "-f", "--disk", f"{image},if={interface}", "--disk", f"{scratch_image},if={interface}", "--cdrom", disc,
                "--memory", "512M", *(f"--device={name}" for name in DEVICES), "--serial", "file:" + serial,
                "--console", "file:" + virtio_console, "--script", script, "--json", seconds=seconds)
report = test.json_of(done)
test.check(report["exit"]["reason"] == "poweroff", f"the guest ended by {report['exit']}", done)
with open(serial, encoding="utf-8", errors="replace", newline="") as file:
    pieces = re.split(r"^=== (\w+)\n", file.read().replace("\r", ""), flags=re.MULTILINE)
said = dict(zip(pieces[1::2], pieces[2::2]))
test.check("end" in said, f"the tools did not come to their end: {pieces[-1][-3000:]}")
info = test.json_of(test.run("info", recording, "--json"))


def equal(what, found, wanted):
    test.check(found == wanted, f"{what}: {found}, not {wanted}")


# ---- lspci and the table ------------------------------------------------------------------


def size_of(text):
    return int(text.rstrip("KM")) * SIZES[text.lstrip("0123456789")]


def documented():
    """The rows of the table in docs/DEVICES.md, by function: place, identity, class, BARs and ROM, interrupts."""
    with open(os.path.join(ROOT, "docs/DEVICES.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| ([0-9a-f]{2}\.[0-7]) \| ([^|]+) \| ([0-9a-f:]{9}) \| ([0-9a-f]{4}) \|([^|]*)\|([^|]*)\|$", file.read(), re.MULTILINE)
    return {name: (place, identity, kind, bars.strip(), interrupts.strip()) for place, name, identity, kind, bars, interrupts in rows}


def wanted_functions():
    """What `info` says is there, as the table has it, by place."""
    table = documented()
    names = ["host bridge", "ISA bridge", "IDE", "power management", "VGA"]
    names += [{"e1000": "e1000", "virtio": "virtio network card"}[card["model"]] for card in info["cards"]]
    names += [f"virtio {name}" for name in ("console", "entropy", "tablet")]
    found = {table[name][0]: table[name][1:] for name in names}
    device = int(table["AHCI"][0][:2], 16)
    kinds = [disk["interface"] for disk in info["disks"] if disk["kind"] == "disk"]
    for name in ["AHCI"] * ("ahci" in kinds) + ["virtio disk"] * kinds.count("virtio"):
        found[f"{device:02x}.0"] = table[name][1:]
        device += 1
    return found


def found_functions():
    """What lspci has printed, by place: identity, class, BARs and ROM, interrupts; and where BARs are."""
    functions, places = {}, []
    for block in re.split(r"\n(?=[0-9a-f]{2}:)", "\n" + said["lspci"].strip()):
        head = re.match(r"\s*00:([0-9a-f]{2}\.[0-7]) [^[]+\[([0-9a-f]{4})\]: .*\[([0-9a-f]{4}:[0-9a-f]{4})\]", block)
        if head is None:
            continue
        bars = []
        # Ports below 1000H are those of IDE's two channels, which no BAR has placed.
        for number, kind, at, how, size in re.findall(r"Region (\d): (I/O ports|Memory) at ([0-9a-f]+)(?: \(([^)]*)\))?(?: \[disabled\])? \[size=(\w+)\]", block):
            if int(at, 16) < 0x1000:
                continue
            letter = "p" if kind == "I/O ports" else {"32-bit, non-prefetchable": "m", "64-bit, prefetchable": "w"}.get(how, how)
            bars.append(f"{number} {letter}{size}")
            places.append((letter == "p", int(at, 16), size_of(size), head[1]))
        # The screen's is shown where firmware has copied it to.
        bars += [f"ROM {size}" for size in re.findall(r"Expansion ROM at (?!000c0000)[0-9a-f]+(?: \[disabled\])? \[size=(\w+)\]", block)]
        interrupts = [f"INT{pin}#" for pin in re.findall(r"Interrupt: pin (\w)", block)]
        interrupts += [f"MSI of {count}" for count in re.findall(r"\] MSI: Enable. Count=\d+/(\d+)", block)]
        interrupts += [f"MSI-X of {count}" for count in re.findall(r"\] MSI-X: Enable. Count=(\d+)", block)]
        functions[head[1]] = (head[3], head[2], ", ".join(bars), ", ".join(interrupts))
    return functions, places


wanted, (functions, places) = wanted_functions(), found_functions()
equal("the functions on the bus", sorted(functions), sorted(wanted))
for place, (identity, kind, bars, interrupts) in wanted.items():
    there = functions[place]
    equal(f"{place}: the identity and the class", there[:2], (identity, kind))
    equal(f"{place}: BARs and ROM", there[2], bars if "ROM" in there[2] else bars.partition(", ROM")[0])
    listed = [words for words in interrupts.split(", ") if re.match(r"INT.#|MSI", words)]
    equal(f"{place}: interrupts", there[3], ", ".join(listed))
for number, (ports, at, size, place) in enumerate(places):
    test.check(at % size == 0, f"{place}: a BAR of {size} bytes at {at:#x}")
    for other_ports, other_at, other_size, other in places[:number]:
        test.check(ports != other_ports or at + size <= other_at or other_at + other_size <= at, f"BARs of {place} and {other} overlap")
interrupt = {"ide": r"^ *14: +(\d+) .*IO-APIC.* ata_piix", "ahci": r"^ *\d+: +(\d+) .*PCI-MSI.* ahci", "virtio": r"^ *\d+: +(\d+) .*PCI-MSI.* virtio\d+-req"}
counted = re.search(interrupt[interface], said["interrupts"], re.MULTILINE)
test.check(counted and int(counted[1]) > 1000, f"the disk's interrupts:\n{said['interrupts']}")

# ---- disks and the disc -------------------------------------------------------------------
sizes = {words[0]: tuple(map(int, words[1:])) for words in map(str.split, said["blockdev"].splitlines())}
equal("sizes, sectors, protection", sizes, {root: (os.path.getsize(image), 512, 0), scratch: (SCRATCH_BYTES, 512, 0),
                                            "sr0": (os.path.getsize(disc), 2048, 1)})
equal("the disc", said["disc"].split()[0], sha256(disc))
equal("the second disk", said["filled"].split()[0], sha256(scratch_image, FILLED_BYTES))
if interface == "virtio":
    equal("the serial numbers", re.findall(r"CV\d", said["identity"]), ["CV0", "CV1"])
else:
    sectors = os.path.getsize(image) // 512
    for line in (r"Model Number: +CHRONOVISOR DISK", r"Serial Number: +CV0", r"Firmware Revision: +1\.0", rf"LBA +user addressable sectors: +{sectors}",
                 rf"LBA48 +user addressable sectors: +{sectors}", rf"M = 1024\*1024: +{sectors // 2048} MBytes", "DMA: " + MODES[interface],
                 r"PIO: pio0 pio1 pio2 pio3 pio4", r"\*\s+48-bit Address feature set", r"\*\s+FLUSH_CACHE_EXT", r"\*\s+Write cache"):
        test.check(re.search(line, said["identity"]), f"hdparm -I has no \"{line}\":\n{said['identity']}")
    queueing = re.search(r"\*\s+Native Command Queueing", said["identity"]) is not None
    equal("native command queueing", queueing, interface == "ahci")
speeds = {name: float(value) for name, value in re.findall(r"Timing (\w+) .*= +([\d.]+) MB/sec", said["speed"])}
most = 1e9 / NS_PER_BYTE[interface] / (1 << 20)
test.check(most / 3 < speeds["buffered"] <= most, f"hdparm -t says {speeds['buffered']} MB/s; {most:.0f} is what there is")
test.check(speeds["cached"] > 50, f"hdparm -T says {speeds['cached']} MB/s")

fio = json.loads(said["fio"][said["fio"].index("{"):said["fio"].rindex("}") + 1])
job = fio["jobs"][0]
equal("errors of fio", job["error"], 0)
written, read = job["write"]["total_ios"], job["read"]["total_ios"]
test.check(job["job_runtime"] >= 59_000 and written > 10_000 and read > written // 2,
           f"fio ran {job['job_runtime']} ms, wrote {written} blocks and read {read}")

# ---- what was pressed, moved and pointed at -----------------------------------------------


def events(which, kind):
    """Code and value of each event of one kind."""
    return [(code, int(value)) for code, value in
            re.findall(rf"type \d+ \({kind}\), code \d+ \((\w+)\), value (-?\d+)", said[which])]


equal("the keys", events("keyboard", "EV_KEY"), KEYS)
equal("the mouse's buttons", events("mouse", "EV_KEY"), MOUSE_BUTTONS)
moved = events("mouse", "EV_REL")
equal("the mouse's ways", {code: sum(value for name, value in moved if name == code) for code in MOUSE_SUMS}, MOUSE_SUMS)
equal("the tablet's buttons", events("tablet", "EV_KEY"), TABLET_BUTTONS)
pointed = events("tablet", "EV_ABS")
equal("the tablet's places", {code: [value for name, value in pointed if name == code] for code in TABLET_PLACES}, TABLET_PLACES)
test.check(said["tablet"].count("Max    32767") == 2, f"the tablet's axes:\n{said['tablet'][:2000]}")
equal("a button that is held, and not", ("query: 10" in said["hold"], "query: 0" in said["release"]), (True, True))

# ---- the rest, and the recording ----------------------------------------------------------
generator, random_bytes, clocks = said["devices"].split("\n")[:3]
test.check(generator.startswith("virtio_rng") and random_bytes == "64" and "hpet" in clocks.split(), f"devices: {said['devices']}")
with open(virtio_console, "rb") as file:
    test.check(b"by virtio" in file.read(), "the virtio console said nothing")
for word in TROUBLE:
    test.check(word not in said["kernel"], f"the kernel said \"{word}\":\n{said['kernel']}")
out = test.path("out.img")
test.run("export", recording, "--format", "raw", "--disk", "1", "-o", out, seconds=seconds)
equal("the second disk at the end", said["written"].split()[0], sha256(out))
away = [image, scratch_image, disc]
for path in away:
    os.rename(path, path + ".away")
try:
    verified = test.json_of(test.run("verify", recording, "--jobs", "2", "--json", seconds=seconds))
finally:
    for path in away:
        os.rename(path + ".away", path)
equal("the digest", verified["digest"], report["digest"])
print(f"{interface}: {report['instructions']:,} steps, {os.path.getsize(recording):,} bytes; hdparm {speeds['buffered']:.0f} MB/s of {most:.0f}; "
      f"fio {written:,} blocks written, {read:,} read and verified; {len(functions)} PCI functions")
