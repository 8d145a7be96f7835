#!/usr/bin/python3
"""`cmake --install` puts into an empty folder what the program needs there: it records
and debugs from it, finds its commands for gdb, and every command has a manual page
that roff takes without a complaint."""
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../e2e"))
from harness import Test  # noqa: E402

test = Test(__doc__, extra=lambda parser: parser.add_argument("--build", required=True))
prefix = test.path("usr")
done = subprocess.run(["cmake", "--install", test.arguments.build, "--prefix", prefix], capture_output=True, check=False)
test.check(done.returncode == 0, "cmake --install", done)
program = os.path.join(prefix, "bin/chronovisor")

# It runs from there, and nothing of the tree is named in it but as the last resort.
guest = test.guest("interrupts64")
recording = test.path("run.cvr")
test.run("record", "-o", recording, "--multiboot", guest, "--serial", "none", program=program)
test.run("verify", recording, program=program)
gdb = shutil.which("gdb")
if gdb:
    wrapper = test.path("gdb")
    with open(wrapper, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {gdb} -nx -batch "$@" -ex "chronovisor" -ex "info registers rip" -ex "detach"\n')
    os.chmod(wrapper, 0o755)
    done = test.run("debug", recording, "--at", "end", f"--gdb={wrapper}", program=program, expect=None, seconds=120)
    test.check(b"rip " in done.stdout and b"Undefined command" not in done.stderr, "gdb does not find the installed commands", done)
    listed = subprocess.run(["strings", "-a", program], capture_output=True, check=False).stdout
    test.check(b"share/chronovisor/gdb" in listed, "the installed place is not looked at")

# Manual pages: one for the program, one for each command, each option in it.
pages = os.path.join(prefix, "share/man/man1")
root = json.loads(test.run("manual").stdout)
expected = {"chronovisor.1", *(f"chronovisor-{command['name']}.1" for command in root["commands"])}
test.check(set(os.listdir(pages)) == expected, f"pages: {sorted(set(os.listdir(pages)) ^ expected)}")
roff = shutil.which("groff")
shown = 0


def options_below(command):
    return command["options"] + [option for below in command["commands"] for option in options_below(below)]


for page in sorted(expected):
    path = os.path.join(pages, page)
    with open(path, encoding="utf-8") as file:
        source = file.read()
    command = root if page == "chronovisor.1" else next(c for c in root["commands"] if page == f"chronovisor-{c['name']}.1")
    for heading in (".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", ".SH EXIT STATUS", ".SH SEE ALSO"):
        test.check(heading in source, f"{page}: no {heading}")
    if roff:
        done = subprocess.run([roff, "-man", "-ww", "-Tutf8", "-K", "utf8", path], capture_output=True, check=False)
        test.check(done.returncode == 0 and not done.stderr, f"{page}: roff complains", done)
        text = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout.decode()).replace("\u2010", "-").replace("\u2212", "-")
        for option in command["options"] if command is root else options_below(command):
            test.check(option["names"][-1] in text, f"{page}: {option['names']} is not in it")
            shown += 1
print(f"{len(expected)} pages, {shown} options in them")
