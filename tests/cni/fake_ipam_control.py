# SPDX-License-Identifier: BSD-3-Clause
"""An IPAM plugin whose answers a test decides, and that writes down how it was called."""

import json
import os

SCRIPT = r"""#!/usr/bin/python3
import json, os, sys
base = os.path.dirname(os.path.abspath(__file__))
plan = json.load(open(base + "/plan.json"))
verb = os.environ["CNI_COMMAND"]
stdin = sys.stdin.read()
if verb == "VERSION":
    print(json.dumps({"cniVersion": "1.0.0", "supportedVersions": plan["versions"]}))
    sys.exit(plan.get("VERSION", {}).get("status", 0))
conf = json.loads(stdin)
with open(base + "/log", "a") as log:
    log.write(json.dumps({"verb": verb, "conf": conf, "env": {k: v for k, v in os.environ.items()
                          if k.startswith("CNI_")}}) + "\n")
step = plan.get(verb, {})
if "wait_for" in step:
    open(base + "/waiting", "w").close()
    open(step["wait_for"]).read()  # a FIFO: until the test lets go
if "signal" in step:
    os.kill(os.getpid(), step["signal"])
if "text" in step:
    sys.stdout.write(step["text"])
    sys.exit(step.get("status", 0))
if "error" in step:
    print(json.dumps(dict(step["error"], cniVersion=conf["cniVersion"])))
    sys.exit(1)
if verb == "ADD":
    ips = [dict({"address": a, "gateway": "10.9.0.1"}, **({"version": "6" if ":" in a else "4"}
           if conf["cniVersion"] < "1.0.0" else {})) for a in step.get("ips", ["10.9.0.5/24"])]
    print(json.dumps({"cniVersion": conf["cniVersion"], "ips": ips, "routes": step.get("routes", []),
                      "dns": step.get("dns", {})}))
"""


class FakeIpam:
    def __init__(self, tmp_path, versions=("0.3.1", "0.4.0", "1.0.0", "1.1.0")):
        self.dir = tmp_path / "fake"
        self.dir.mkdir()
        (self.dir / "fake").write_text(SCRIPT)
        os.chmod(self.dir / "fake", 0o755)
        self.conf = {"type": "fake"}
        self.plan(versions=list(versions))

    def plan(self, **plan):
        plan.setdefault("versions", ["0.3.1", "0.4.0", "1.0.0", "1.1.0"])
        (self.dir / "plan.json").write_text(json.dumps(plan))

    @property
    def log(self):
        path = self.dir / "log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def verbs(self):
        return [entry["verb"] for entry in self.log]

    @property
    def is_waiting(self):
        return (self.dir / "waiting").exists()

    def make_fifo(self):
        path = str(self.dir / "fifo")
        os.mkfifo(path)
        return path
