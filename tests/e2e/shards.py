#!/usr/bin/python3
"""A recording is verified, indexed, asked and sampled in shards, run by GNU parallel or by
Slurm's own daemons on one node, and merged: to what one run gives."""
import json
import os
import re
import shutil
import socket
import subprocess
import time

from harness import PATIENCE, Test, skip

SHARDS = 5


def extra(parser):
    parser.add_argument("--by", choices=("parallel", "slurm"), required=True)


test = Test(__doc__, extra=extra)
by = test.arguments.by
needed = {"parallel": ["parallel"], "slurm": ["munged", "slurmctld", "slurmd", "sbatch", "squeue"]}[by]
os.environ["PATH"] += ":/usr/sbin"
for program in needed:
    if shutil.which(program) is None:
        skip(f"{program} is not installed")
if by == "slurm" and os.geteuid() != 0:
    skip("Slurm's daemons want to be root")


def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Slurm:
    """One node with the daemons that a cluster has."""

    def __init__(self):
        self.daemons = []
        self.log = open(test.path("slurm.log"), "wb")
        os.chmod(test.folder, 0o755)
        for name in ("munge", "state", "spool"):
            os.mkdir(test.path(name), 0o755)
        with open(os.open(test.path("munge/key"), os.O_WRONLY | os.O_CREAT, 0o400), "wb") as file:
            file.write(os.urandom(1024))
        sock = test.path("munge/socket")
        self.start("munged", "--foreground", "--force", "--key-file", test.path("munge/key"), "--socket", sock,
                   "--pid-file", test.path("munge/pid"), "--log-file", test.path("munge/log"),
                   "--seed-file", test.path("munge/seed"))
        host = socket.gethostname()
        with open(test.path("slurm.conf"), "w", encoding="ascii") as file:
            file.write(f"""ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={sock}
CredType=cred/munge
SlurmctldPort={port()}
SlurmdPort={port()}
StateSaveLocation={test.path("state")}
SlurmdSpoolDir={test.path("spool")}
SlurmctldPidFile={test.path("slurmctld.pid")}
SlurmdPidFile={test.path("slurmd.pid")}
SlurmctldLogFile={test.path("slurmctld.log")}
SlurmdLogFile={test.path("slurmd.log")}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/linear
MailProg=/bin/true
ReturnToService=2
SchedulerParameters=sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=1 RealMemory=1 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES OverSubscribe=FORCE:8 State=UP
""")
        os.environ["SLURM_CONF"] = test.path("slurm.conf")
        self.wait(lambda: os.path.exists(sock), "munge")
        self.start("slurmctld", "-D", "-c")
        self.start("slurmd", "-D", "-N", host)
        self.wait(lambda: b"idle" in self.asked("sinfo", "-h", "-o", "%T"), "the node")

    def start(self, *command):
        self.daemons.append(subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL))

    @staticmethod
    def asked(*command):
        return subprocess.run(command, capture_output=True, check=False).stdout

    def wait(self, done, what):
        end = time.monotonic() + 60 * PATIENCE
        while not done():
            if time.monotonic() > end:
                said = ""
                for name in ("slurm.log", "munge/log", "slurmctld.log", "slurmd.log"):
                    if os.path.exists(test.path(name)):
                        with open(test.path(name), encoding="utf-8", errors="replace") as file:
                            said += f"-- {name}:\n{file.read()[-1500:]}\n"
                self.end()
                test.fail(f"{what} does not come: {said}")
            time.sleep(0.2)

    def run(self, command):
        """One array job, as docs/API.md has it."""
        done = subprocess.run(["sbatch", "--wait", f"--array=1-{SHARDS}", "--output", test.path("job-%a.out"),
                               "--chdir", test.folder, "--wrap", command.replace("{}", "$SLURM_ARRAY_TASK_ID")],
                              capture_output=True, check=False, timeout=300 * PATIENCE)
        return done

    def end(self):
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self.log.close()


class Parallel:
    def run(self, command):
        return subprocess.run(["parallel", "--will-cite", "-j", "2", command, ":::", *map(str, range(1, SHARDS + 1))],
                              capture_output=True, check=False, cwd=test.folder, timeout=300 * PATIENCE)

    def end(self):
        pass


recording = test.path("recording.cvr")
test.run("record", "-o", recording, "--multiboot", test.guest("interrupts64"), "--serial", "none",
         "--checkpoint-every", "5000", "--no-index")
cluster = Slurm() if by == "slurm" else Parallel()
test_program = test.program


def sharded(name, command, merged, whole, expect=0, same=lambda text: text):
    """Runs a command in shards, merges, and compares with what one run gives."""
    done = cluster.run(f"{test_program} {command}")
    test.check(done.returncode == 0, f"{name}: the shards end with {done.returncode}", done)
    parts = [test.path(f"{name}-{number}") for number in range(1, SHARDS + 1)]
    joined = test.run("merge", *merged, *reversed(parts), expect=expect)
    if whole is not None:
        one = test.run(*whole, expect=expect)
        test.check(same(joined.stdout) == same(one.stdout), f"{name}: merged is not what one run gives", joined, one)
    return parts


def but_time(text):
    facts = json.loads(text)
    for what in ("seconds", "stretches"):
        facts.pop(what)
    return facts


try:
    # The whole index from parts is, to the byte, what one run makes.
    copy = test.path("copy.cvr")
    shutil.copy(recording, copy)
    sharded("index", f"index {recording} --shard {{}}/{SHARDS} -o {test.path('index-{}')} -f", ["--into", recording], None)
    test.run("index", copy)
    with open(recording, "rb") as a, open(copy, "rb") as b:
        test.check(a.read() == b.read(), "an index in shards is another")

    sharded("verify", f"verify {recording} --shard {{}}/{SHARDS} --json > {test.path('verify-{}')}", ["--json"],
            ["verify", recording, "--json"], same=but_time)
    page = "0x100000"
    for name, question in (("writes", f"writes {recording} -a {page} -n 4096"), ("executes", f"executes {recording} -a {page} -n 4096"),
                           ("value", f"value {recording} -a {page} -n 8"), ("count", f"writes {recording} -a 0 -n 65536 --count"),
                           ("first", f"executes {recording} -a {page} -n 4096 --first")):
        sharded(name, f"query {question} --shard {{}}/{SHARDS} --json > {test.path(name + '-{}')}", ["--json"],
                ["query", *question.split(), "--json"])
    sharded("folded", f"export {recording} --format folded --every 700 --shard {{}}/{SHARDS} > {test.path('folded-{}')}",
                    [], ["export", recording, "--format", "folded", "--every", "700"])
finally:
    cluster.end()
if by == "slurm":
    print(f"{SHARDS} shards of each, by Slurm {Slurm.asked('sbatch', '--version').decode().split()[-1]}")
    raise SystemExit(0)

# What is missing, twice, of something else, or not a shard's is said.
whole = test.path("whole")
with open(whole, "wb") as file:
    file.write(test.run("verify", recording, "--json").stdout)
other = test.path("other.cvr")
test.run("record", "-o", other, "--multiboot", test.guest("interrupts64"), "--serial", "none", "--limit", "9000", expect=(0, 1))
foreign = test.path("foreign")
with open(foreign, "wb") as file:
    file.write(test.run("verify", other, "--json", "--shard", f"2/{SHARDS}").stdout)
verified = [test.path(f"verify-{number}") for number in range(1, SHARDS + 1)]
indexed = [test.path(f"index-{number}") for number in range(1, SHARDS + 1)]
folded = [test.path(f"folded-{number}") for number in range(1, SHARDS + 1)]


def changed(name, change):
    """Another file with what `change` makes of a part's content."""
    with open(name, "rb") as file:
        content = file.read()
    with open(test.path(f"changed-{len(os.listdir(test.folder))}"), "wb") as file:
        file.write(change(content))
    return file.name


plain = changed(folded[0], lambda text: b"".join(line for line in text.splitlines(True) if not line.startswith(b"#")))
for given, words in (([*verified[1:]], "shard 1 of 5 is missing"), ([*verified, verified[2]], "twice"),
                     ([verified[0], foreign, *verified[2:]], "something else"), ([whole], "no shard's"),
                     (["--into", other, *indexed], "another recording"), (["--into", recording, *indexed[1:]], "missing"),
                     ([recording], "nothing that shards give"), ([test.path("nowhere")], "No such file"),
                     # What a job that failed leaves, and what was cut off on its way.
                     ([*folded, folded[2]], "shard 3 of 5 is given twice"), (folded[1:], "shard 1 of 5 is missing"),
                     ([changed(folded[0], lambda text: b""), *folded[1:]], "is empty"),
                     ([*folded[1:], changed(folded[0], lambda text: text[:-5])], "cut off"),
                     ([*folded[1:], changed(folded[0], lambda text: text[:text.rindex(b"#")])], "cut off"),
                     ([*folded[1:], changed(folded[0], lambda text: b"\n".join(text.split(b"\n")[:1] + text.split(b"\n")[2:]))],
                      "but says"),
                     ([plain, *folded[1:]], "nothing that shards give"), ([*folded[1:], plain], "no shard's folded stacks"),
                     ([*folded[1:], changed(folded[0], lambda text: text.replace(b'"every":700', b'"every":70'))], "something else"),
                     ([*folded[1:], changed(folded[0], lambda text: text.replace(b'"number":1', b'"number":9'))], "no shard 9 of 5"),
                     ([changed(verified[0], lambda text: text[:-9]), *verified[1:]], "cut off"),
                     ([*verified[1:], changed(verified[0], lambda text: b"")], "is empty")):
    done = test.run("merge", *given, expect=3)
    test.check(words in done.stderr.decode(), f"merge {given}: not refused as {words}", done)
torn = test.path("torn")
with open(indexed[0], "rb") as file:
    content = bytearray(file.read())
content[30] ^= 1
with open(torn, "wb") as file:
    file.write(content)
test.check(b"checksum" in test.run("merge", "--into", recording, torn, *indexed[1:], expect=3).stderr, "a torn part")
for given in (["--into", recording, *indexed], folded):
    test.check(b"--json" in test.run("merge", "--json", *given, expect=2).stderr, "--json is taken for nothing")
test.run("index", recording, "--shard", "1/2", expect=2)
test.run("merge", *indexed, expect=2)

# A difference that one shard finds is what the merged report says.
damaged = dict(json.loads(open(verified[3], encoding="utf-8").read()), result="diverged", message="differs", position=77)
with open(verified[3], "w", encoding="utf-8") as file:
    json.dump(damaged, file)
done = test.run("merge", "--json", *verified, expect=4)
test.check(json.loads(done.stdout)["message"] == "differs" and not re.search(b"shard", done.stdout), "a difference is lost", done)
