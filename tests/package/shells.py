#!/usr/bin/python3
"""The completions for zsh and fish, as installed, are taken by these shells and offer
every command, every option and every value that the program documents."""
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../e2e"))
from harness import ROOT, Test, skip  # noqa: E402

test = Test(__doc__, extra=lambda parser: parser.add_argument("--build", required=True))
FISH, ZSH = (shutil.which(shell) or skip(f"{shell} is not installed") for shell in ("fish", "zsh"))
made = test.path("completions")
subprocess.run([os.path.join(ROOT, "scripts/make-completions"), test.program, made], check=True)
built = os.path.join(test.arguments.build, "completions")
for name in ("_chronovisor", "chronovisor.fish", "chronovisor"):
    with open(os.path.join(built, name), "rb") as one, open(os.path.join(made, name), "rb") as two:
        test.check(one.read() == two.read(), f"{name} in the build is not what the program says")
root = json.loads(test.run("manual").stdout)


def fish(*words):
    """What fish offers for the last of the words."""
    done = subprocess.run([FISH, "--no-config", "-c", f"source {made}/chronovisor.fish; complete -C \"$argv\"", " ".join(["chronovisor", *words])],
                          capture_output=True, text=True, cwd=test.folder, env={**os.environ, "HOME": test.folder}, timeout=60, check=False)
    test.check(done.returncode in (0, 1) and not done.stderr, f"fish: {done.stderr}")
    return {line.split("\t")[0] for line in done.stdout.split("\n") if line}


# zsh shows completions only at a terminal: one is made by its own module.
ZSH_SCRIPT = r"""
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PROMPT= ; fpath=(__FOLDER__ \$fpath); autoload -Uz compinit; compinit -u -D; unsetopt zle_bracketed_paste; bindkey '^I' list-choices; LISTMAX=1000; print 'RE''ADY'"
zpty -r -m z seen '*READY*'
zpty -w -n z "$1"$'\t'
sleep ${2:-1}
zpty -w -n z $'\x15'"print 'DO''NE'"$'\n'
zpty -r -m z seen '*DONE*'
print -r -- $seen
"""


def zsh(line, wait="1"):
    done = subprocess.run([ZSH, "-f", "-c", ZSH_SCRIPT.replace("__FOLDER__", made), "zsh", line, wait], capture_output=True, text=True,
                          cwd=test.folder, env={**os.environ, "HOME": test.folder, "TERM": "dumb", "COLUMNS": "200"}, timeout=120, check=False)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", done.stdout)


def long_names(command):
    return {name for option in command["options"] for name in option["names"] if name.startswith("--")}


def values(option):
    return {word for word in option["values"].split("|") if not re.search("[A-Z]", word) or word[0].isdigit()}


syntax = subprocess.run([ZSH, "-n", os.path.join(made, "_chronovisor")], capture_output=True, text=True, check=False)
test.check(syntax.returncode == 0 and not syntax.stderr, f"zsh does not parse it: {syntax.stderr}")
commands = {command["name"] for command in root["commands"]}
test.check(commands <= fish(""), f"fish lacks {commands - fish('')}")
shown = zsh("chronovisor ")
test.check(all(command in shown for command in commands), f"zsh shows {shown}")
count = len(commands)
with open(os.path.join(made, "_chronovisor"), encoding="utf-8") as file:
    written = file.read()
for command in root["commands"]:
    if command["commands"]:
        names = {below["name"] for below in command["commands"]}
        test.check(names <= fish(command["name"], ""), f"fish: {command['name']}")
        continue
    offered = fish(command["name"], "--")
    test.check(long_names(command) <= offered, f"fish lacks {command['name']} {long_names(command) - offered}")
    for option in command["options"]:
        name = option["names"][-1]
        test.check(name in written, f"zsh lacks {name}")
        if option["flag"] or not values(option):
            continue
        offered = fish(command["name"], name, "")
        test.check(values(option) <= offered, f"fish {command['name']} {name}: {offered}")
        count += 1
# zsh is slow to start: one command of each kind, at its prompt.
for line, wanted in (("chronovisor record --", long_names(next(c for c in root["commands"] if c["name"] == "record"))),
                     ("chronovisor record --engine ", {"soft", "kvm"}), ("chronovisor query ", {"writes", "executes", "value", "merge"}),
                     ("chronovisor query writes --", {"--address", "--length", "--shard"})):
    shown = zsh(line)
    test.check(all(word in shown for word in wanted), f"zsh, {line}: {sorted(w for w in wanted if w not in shown)} is not in {shown}")
    count += 1
print(f"{count} places completed")
