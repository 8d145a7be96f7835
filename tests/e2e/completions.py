#!/usr/bin/python3
"""The bash completion offers every command and every option that --help prints."""
import os
import re
import shutil
import subprocess

from harness import ROOT, Test, skip

test = Test(__doc__)
BASH = shutil.which("bash") or skip("bash is not installed")
SCRIPT = os.path.join(ROOT, "scripts/completions/chronovisor.bash")


def completed(*words):
    """What is offered for the last of the words."""
    command = [test.program, *words]
    line = " ".join(f"'{word}'" for word in command)
    done = subprocess.run([BASH, "--norc", "-c", f"source {SCRIPT}\nCOMP_WORDS=({line})\nCOMP_CWORD={len(words)}\n"
                           f"_chronovisor {test.program}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""],
                          capture_output=True, text=True, cwd=test.folder, timeout=60, check=False)
    test.check(done.stderr == "", f"completing {words}: {done.stderr}")
    return {word for word in done.stdout.split("\n") if word}


def listed(*command):
    """Commands and options by the help, read in another way than the script's."""
    text = test.run(*command, "--help").stdout.decode()
    head, _, commands = text.partition("\nSubcommands:\n")
    names = set(re.findall(r"^  ([a-z][\w-]*) ", commands, re.M))
    options = set()
    for line in re.findall(r"^  (-[^ \n]*)", head, re.M):
        options |= {re.sub(r"\[.*|\{.*", "", name) for name in line.split(",")}
    return names, options


def walk(*command):
    """The numbers of commands and options below `command`."""
    names, options = listed(*command)
    test.check(options, f"{command} has no options in its help")
    test.check(completed(*command, "-") == options, f"{command}: {completed(*command, '-') ^ options}")
    if names:
        test.check(completed(*command, "") == names, f"{command}: {completed(*command, '') ^ names}")
    below = [walk(*command, name) for name in sorted(names)]
    return len(names) + sum(pair[0] for pair in below), len(options) + sum(pair[1] for pair in below)


commands, options = walk()
test.check(commands >= 10 and options >= 60, f"only {commands} commands and {options} options")
test.check(completed("re") == {"record", "replay", "report"}, "commands by their beginning")
test.check(completed("debug", "x.cvr", "--ar") == {"--architecture"}, "options after a file")
test.check(completed("debug", "--architecture", "") == {"auto", "x86-64", "i386"}, "values")
test.check(completed("record", "--engine", "=", "k") == {"kvm"}, "values after =")
open(test.path("boot.cvr"), "w", encoding="utf-8").close()
test.check(completed("info", "bo") == {"boot.cvr"}, "files")
print(f"{commands} commands, {options} options")
