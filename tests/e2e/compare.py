#!/usr/bin/python3
"""`compare` starts a guest as `record` does: a Multiboot kernel finds its file's name, its
words and its modules."""
import json
import os

from harness import Test

test = Test(__doc__)
guest = test.guest("multiboot_info")  # ends with 0 when all is there
folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guests")
words = ["--append", "first second", "--module", os.path.join(folder, "module_a.txt") + ",alpha",
         "--module", os.path.join(folder, "module_b.txt")]


def compared(*options):
    (answer,) = json.loads(test.run("compare", "--engines", "soft,soft", "--json", guest, *options).stdout)
    test.check(answer["equal"] and answer["end"] == "debug-exit", f"the guest did not run to its end: {answer}")
    return answer


right = compared(*words)
test.check(right["code"] == 0, f"the guest misses something that it was given: {right}")
test.run("record", "-o", test.path("run.cvr"), "--multiboot", guest, *words)
end = json.loads(test.run("info", test.path("run.cvr"), "--json").stdout)["end"]
test.check(right["position"] == end, f"compared to {right['position']}, recorded to {end}")
test.check(compared(*words, "--multiboot-argv0", "none")["code"] != 0, "--multiboot-argv0 none changes nothing")
test.check(compared(*words[2:])["code"] != 0, "without the words the guest should miss them")
print("compared as it is recorded")
