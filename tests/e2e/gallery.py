#!/usr/bin/python3
"""Systems that nobody here wrote, from packages: each is recorded from a CD or a floppy disk until
its screen has what it should, and verified; the screen is the same at three positions of a second
recording that has no checkpoints. Long: not in the suite; see CONTRIBUTING.md."""
import os
import shutil
import subprocess

from harness import ROOT, Test, skip

GRUB = "/usr/lib/grub/i386-pc"


def rescue_disc(test, name, files, menu):
    """A CD with GRUB in front of `files`, which are paths by their place on it."""
    tree = test.path(name)
    os.makedirs(os.path.join(tree, "boot/grub"))
    for place, path in files.items():
        shutil.copy(path, os.path.join(tree, place))
    if menu:
        with open(os.path.join(tree, "boot/grub/grub.cfg"), "w", encoding="ascii") as file:
            file.write("set timeout=0\nmenuentry guest {\n" + menu + "\n}\n")
    disc = test.path(name + ".iso")
    subprocess.run(["grub-mkrescue", "-d", GRUB, "-o", disc, tree], check=True, capture_output=True)
    return ["--cdrom", disc]


def grub_floppy(test):
    core, disk = test.path("core.img"), test.path("grub.img")
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-p", "(fd0)/boot/grub", "-o", core, "biosdisk", "normal", "minicmd", "ls", "fat"], check=True)
    with open(disk, "wb") as file, open(os.path.join(GRUB, "boot.img"), "rb") as boot, open(core, "rb") as rest:
        file.write(boot.read().ljust(512, b"\0") + rest.read())
        file.truncate(1440 * 1024)
    return ["--floppy", disk]


def installer(test):
    folder = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"
    folder = os.environ.get("CHRONOVISOR_INSTALLER", folder)
    return rescue_disc(test, "installer", {"linux": folder + "/linux", "initrd.gz": folder + "/initrd.gz"},
                       "set gfxpayload=text\nlinux /linux nomodeset fb=false nokaslr\ninitrd /initrd.gz")


def memtest(test):
    return rescue_disc(test, "memtest", {"memtest": "/boot/memtest86+x64.bin"}, "linux /memtest")


def ipxe(_):
    return ["--cdrom", os.environ.get("CHRONOVISOR_IPXE", "/usr/lib/ipxe/ipxe.iso")]


# Name: what makes its media, memory, what is typed and waited for, what the last screen has.
GUESTS = {
    "grub-cd": (lambda test: rescue_disc(test, "grub", {}, ""), "64M", "wait-screen grub>\nkeys ls\\n\nwait-screen (cd)\n", "grub>"),
    "grub-floppy": (grub_floppy, "64M", "wait-screen grub>\nkeys ls\\n\nwait-screen (fd0)\n", "grub>"),
    "ipxe": (ipxe, "64M", "wait-screen Ctrl-B\nkeys <ctrl-b>\nwait-screen iPXE>\nkeys help\\n\nwait-screen autoboot\n", "autoboot"),
    "memtest": (memtest, "64M", "wait-screen Memtest86+\nwait 500ms\n", "Memtest86+"),
    # With less it asks other things first.
    "installer": (installer, "1G", "wait-screen Choose the language\nwait 1s\n", "Choose the language"),
}

test = Test(__doc__, extra=lambda parser: parser.add_argument("guests", nargs="*", metavar="GUEST", help=", ".join(GUESTS)))
if shutil.which("grub-mkrescue") is None or shutil.which("xorriso") is None:
    skip("grub-mkrescue and xorriso are not installed (scripts/setup media)")
seconds = 3600


def screens(recording, end):
    out = test.path("screen.png")
    found = []
    for position in (end // 3, 2 * end // 3, end):
        test.run("export", recording, "--format", "png", "--at", position, "-f", "-o", out, seconds=seconds)
        with open(out, "rb") as file:
            found.append(file.read())
    return found


for name in test.arguments.guests or GUESTS:
    media, memory, typed, wanted = GUESTS[name]
    try:
        how = media(test)
    except FileNotFoundError as error:
        print(f"{name}: not tried: {error}")
        continue
    script = test.path(name + ".script")
    with open(script, "w", encoding="ascii") as file:
        file.write(typed + "end\n")
    reports = []
    for kind in ([], ["--no-checkpoints"]):
        recording = test.path(f"{name}{len(reports)}.cvr")
        done = test.run("record", "-o", recording, *how, "--memory", memory, "--serial", "none", "--script", script, "--json", *kind,
                        seconds=seconds)
        test.check(b"were not reached" not in done.stderr, f"{name}: the script did not end", done)
        reports.append(test.json_of(done))
    first, second = test.path(f"{name}0.cvr"), test.path(f"{name}1.cvr")
    for what in ("instructions", "digest"):
        test.check(reports[0][what] == reports[1][what], f"{name}: another state without checkpoints: {reports}")
    test.run("verify", first, "--jobs", "2", seconds=seconds)
    end = reports[0]["instructions"]
    test.check(screens(first, end) == screens(second, end), f"{name}: other screens without checkpoints")
    text = test.run("export", first, "--format", "screen-text", seconds=seconds).stdout.decode()
    test.check(wanted in text, f"{name}: the last screen is\n{text}")
    print(f"{name}: {end:,} steps, {os.path.getsize(first):,} bytes", flush=True)
