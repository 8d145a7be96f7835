"""What the end-to-end tests share: running the program, building guests, skipping.

A test that cannot run here ends with status 77 and its reason, which CTest
reports as skipped. A failing test keeps its files and prints where they are.
"""
import argparse
import atexit
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
SHA_OF_16_MIB = "080acf35a507ac9849cfcba47dc2ad83e01b75663a516279c8b9d243b719643e"
CMDLINE = "console=ttyS0 quiet panic=-1 nokaslr"
# Builds with sanitizers are slow; see CHRONOVISOR_TEST_PATIENCE in tests/CMakeLists.txt.
PATIENCE = int(os.environ.get("CHRONOVISOR_TEST_PATIENCE", "1"))
KERNELS = ("linux-image-cloud-amd64", "linux-image-6.12-cloud-amd64")
# The lines of an input script that log in to a Debian of scripts/build-disk.
LOGIN = """wait-screen login:
keys root\\n
wait-screen Password
wait 1s
keys chronos\\n
wait-screen #
"""


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(77)


class Test:
    """One end-to-end test: its program, its folder, its failures."""

    def __init__(self, description, needs_kernel=False, extra=None):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--chronovisor", required=True)
        if needs_kernel:
            parser.add_argument("--kernel", default=KERNELS[0], help="kernel package, as given to scripts/fetch-kernel")
        if extra:
            extra(parser)
        self.arguments = parser.parse_args()
        self.program = os.path.abspath(self.arguments.chronovisor)
        self.folder = tempfile.mkdtemp(prefix="chronovisor-e2e-")
        self.failed = False
        atexit.register(self.clean)

    def clean(self):
        if self.failed:
            print(f"kept for a look: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def fail(self, message, *runs):
        self.failed = True
        print(f"FAILED: {message}")
        for run in runs:
            print("$ " + shlex.join(map(str, run.args)))
            print(f"-- exit status {run.returncode}, stdout:")
            print(run.stdout.decode(errors="replace")[-4000:])
            print("-- stderr:")
            print(run.stderr.decode(errors="replace")[-4000:])
        sys.exit(1)

    def check(self, condition, message, *runs):
        if not condition:
            self.fail(message, *runs)

    def run(self, *command, expect=0, seconds=300, given=b"", program=None):
        """Runs chronovisor (or `program`) and insists on the exit status `expect`
        (a number or several; None for any). A signal or a hang is a failure."""
        full = [program or self.program, *map(str, command)]
        seconds *= PATIENCE
        try:
            done = subprocess.run(full, input=given, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            self.fail(f"still running after {seconds} s: {shlex.join(full)}")
        if done.returncode < 0:
            self.fail(f"killed by signal {-done.returncode}", done)
        wanted = (expect,) if isinstance(expect, int) else expect
        if wanted is not None and done.returncode not in wanted:
            self.fail(f"exit status {done.returncode}, expected {expect}", done)
        return done

    def json_of(self, done):
        """The JSON object on stdout; a console may stand before it."""
        text = done.stdout.decode(errors="replace")
        starts = [at for at in range(len(text)) if text[at] == "{" and (at == 0 or text[at - 1] == "\n")]
        for at in reversed(starts):
            try:
                return json.loads(text[at:])
            except ValueError:
                continue
        return self.fail("no JSON object on stdout", done)

    def kernel(self, package=None):
        """Path of the package's vmlinuz; skips when it is not to be had."""
        package = package or self.arguments.kernel
        done = subprocess.run([os.path.join(ROOT, "scripts/fetch-kernel"), package], capture_output=True, check=False)
        if done.returncode != 0:
            skip(f"kernel {package} cannot be fetched: {done.stderr.decode(errors='replace').strip()[-300:]}")
        return done.stdout.decode().strip()

    def package(self):
        """The folder that the package of the kernel was unpacked to."""
        self.kernel()
        cache = os.environ.get("CHRONOVISOR_CACHE", os.path.join(ROOT, ".cache"))
        return os.path.join(cache, "kernels", self.arguments.kernel)

    def initramfs(self, *options):
        of_these = hashlib.sha256("\0".join(options).encode()).hexdigest()[:16]
        output = self.path(f"initramfs-{of_these}.cpio.gz")
        done = subprocess.run([os.path.join(ROOT, "scripts/build-initramfs"), output, *options],
                              capture_output=True, check=False)
        if done.returncode != 0:
            skip(f"no initramfs: {done.stderr.decode(errors='replace').strip()}")
        return output

    def linux(self, *options):
        """The arguments of `record` that boot the kernel with the workload."""
        return ["--kernel", self.kernel(), "--initrd", self.initramfs(*options), "--append", CMDLINE, "--memory", "256M"]

    def guest(self, name):
        """Builds one of tests/guests and returns its image."""
        output = self.path(name)
        done = subprocess.run([os.path.join(ROOT, "tests/guests/build_guest"),
                               os.path.join(ROOT, "tests/guests", name + ".S"), output], capture_output=True, check=False)
        self.check(done.returncode == 0, f"guest {name} does not build", done)
        return output
