#!/usr/bin/python3
"""A PVH kernel is found by its note in every form that linkers give it, and gets its line
and its modules; tests/e2e/guests/pvh_modules.S looks at them."""
import os
import subprocess

from harness import Test

test = Test(__doc__)
here = os.path.dirname(os.path.abspath(__file__))
guests = os.path.join(here, "..", "guests")
words = ["--append", "first second", "--module", os.path.join(guests, "module_a.txt") + ",alpha",
         "--module", os.path.join(guests, "module_b.txt")]


def built(name, *defines, bits="-m32"):
    image = test.path(name)
    subprocess.run(["g++", "-x", "assembler-with-cpp", "-nostdlib", "-static", "-no-pie", bits, "-I", guests,
                    *(f"-D{define}" for define in defines), "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments",
                    "-Wl,-T," + os.path.join(here, "guests", "pvh.ld"), os.path.join(here, "guests", "pvh_modules.S"), "-o", image],
                   check=True)
    return image


count = 0
for alignment in (4, 8):
    for width in (4, 8):
        image = built(f"pvh_{alignment}_{width}", f"ALIGNMENT={alignment}", f"WIDTH={width}")
        wide = test.path(f"pvh64_{alignment}_{width}")
        subprocess.run(["objcopy", "-O", "elf64-x86-64", image, wide], check=True)
        for kernel in (image, wide):
            recording = test.path("run.cvr")
            done = test.run("record", "-o", recording, "--kernel", kernel, "--serial", "none", "--limit", "1000000", *words)
            test.check(b"debug-exit with code 0" in done.stderr, "something was not handed over; the code is the line", done)
            test.run("verify", recording)
            count += 1
print(f"{count} kernels")
