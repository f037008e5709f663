# SPDX-License-Identifier: BSD-3-Clause
"""The blocks of README and docs that can be run are run as they stand there, extracted from the text."""
import glob
import importlib.machinery
import importlib.util
import os
import random
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from markdown import ROOT, blocks, command_lines, is_commands, starting
from rig import BUILD
from waiting import wait_for

sys.path.insert(0, os.path.join(ROOT, "tests", "model"))

PAGES = ["README.md", "CONTRIBUTING.md", *sorted(os.path.relpath(p, ROOT) for p in glob.glob(f"{ROOT}/docs/*.md")), "tests/README.md",
         "tests/fuzz/README.md"]
# Blocks of commands by how they begin: the test that runs them, or why none does.
RUN = {
    ("README.md", "sudo scripts/demo"): "test_demo runs the one, the other runs this test",
    ("README.md", "sudo scripts/deps --build"): "test_readme_builds_and_installs",
    ("README.md", "ip link add n1-up"): "test_readme_node",
    ("README.md", "leatctl -i n1 service add"): "test_readme_node",
    ("README.md", "kill %1"): "test_readme_node",
    ("README.md", "sudo perf/run pvp-l3"): "test_perf_lines",
    ("README.md", "sudo perf/run scale"): "test_perf_lines",
    ("CONTRIBUTING.md", "sudo scripts/deps"): "scripts/test does the same steps",
    ("docs/fuzzing.md", "meson setup build-tsan"): "long: a build with the thread sanitizer",
    ("docs/model.md", "tests/model/run-long"): "long: the words are checked by test_paths_are_there",
    ("docs/packet.md", "scripts/test packet"): "runs suites itself",
    ("docs/perf-services.md", "perf/run"): "test_perf_lines",
    ("docs/perf.md", "perf/run"): "test_perf_lines",
    ("docs/soak.md", "sudo SOAK_MINUTES"): "long, by name only",
    ("tests/README.md", "sudo scripts/test"): "runs suites itself",
    ("tests/fuzz/README.md", "CC=clang-14"): "long: the suite fuzz-long does it",
}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces")


def all_commands():
    return [b for page in PAGES for b in blocks(page) if is_commands(b)]


def test_every_block_of_commands_is_run_or_says_why_not():
    unknown = [f"{b.path}:{b.line}" for b in all_commands() if not any(b.path == p and b.text.startswith(t) for p, t in RUN)]
    assert not unknown, "run them in this file"
    gone = [key for key in RUN if not any(b.path == key[0] and b.text.startswith(key[1]) for b in all_commands())]
    assert not gone


def test_paths_are_there():
    """Programs and scripts of the repository that a block calls."""
    missing = []
    for block in all_commands():
        for path in re.findall(r"(?:^|[\s;&])((?:scripts|perf|tests)/[\w./-]+)", block.text):
            if not os.path.exists(os.path.join(ROOT, path)):
                missing.append(f"{block.path}:{block.line}: {path}")
    assert not missing


def perf_run():
    loader = importlib.machinery.SourceFileLoader("perf_run", os.path.join(ROOT, "perf", "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("perf_run", loader))
    loader.exec_module(module)
    return module


def test_perf_lines(monkeypatch):
    """They take minutes; here the program reads each line's words. What they do is tests/perf-smoke's."""
    module, n = perf_run(), 0
    for block in all_commands():
        for line in command_lines(block):
            words = [w for w in shlex.split(line) if w != "sudo"]
            if words[0] == "perf/run":
                monkeypatch.setattr(sys, "argv", words)
                module.options()
                n += 1
    assert n >= 9


class Shell:
    """A bash that gets block after block on its standard input, as a person would type them; ends at the first command that fails."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "shell.log")
        env = dict(os.environ, PATH=":".join([f"{BUILD}/control", f"{BUILD}/control/ctl", os.environ["PATH"]]))
        with open(self.path, "wb") as log:
            self.process = subprocess.Popen(["bash", "-eu"], stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, env=env)
        self.n_blocks = 0

    def log(self):
        with open(self.path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def run(self, text, deadline_s=60):
        """What the block printed."""
        before, self.n_blocks = len(self.log()), self.n_blocks + 1
        mark = f"block {self.n_blocks} is done"
        self.process.stdin.write(f"{text}\necho {mark}\n")
        self.process.stdin.flush()
        wait_for(lambda: mark in self.log() or self.process.poll() is not None, mark, deadline_s)
        assert mark in self.log(), self.log()
        return self.log()[before:]

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


def succeeds(*words):
    return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


@needs_root
def test_readme_node(tmp_path):
    """A node by hand: its three blocks, and between them what the text says that they do."""
    shell, server, is_purged = Shell(tmp_path), None, False
    try:
        out = shell.run(starting("README.md", "ip link add n1-up").text)
        assert "PASS" not in out and "10.244.1.10" in out, out
        wait_for(lambda: "3 received" in shell.log(), "p1 reaches p2")
        for device in ("n1-up", "n1-wire"):
            state = subprocess.run(["ip", "-o", "link", "show", device], capture_output=True, text=True, check=True).stdout
            assert "LOWER_UP" in state, state
        assert succeeds("ping", "-c", "1", "-W", "5", "10.244.1.10"), "the node's own programs reach a pod"
        out = shell.run(starting("README.md", "leatctl -i n1 service add").text)
        assert "10.244.1.11" in out and "8080" in out, out
        server = subprocess.Popen(["ip", "netns", "exec", "p2", sys.executable, "-m", "http.server", "8080", "-d", str(tmp_path)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: succeeds("ip", "netns", "exec", "p1", "curl", "-s", "-m", "5", "http://10.96.0.1/"), "the service")
        assert not succeeds("ip", "netns", "exec", "p1", "curl", "-s", "-m", "1", "http://10.244.1.11:81/"), "the policy"
        server.kill()
        server.wait()
        shell.run(starting("README.md", "kill %1").text)
        is_purged = True
        left = [*glob.glob("/run/leat/*n1*"), *glob.glob("/var/lib/leat/*n1*"), *glob.glob("/dev/hugepages/*n1*"), *glob.glob("/run/netns/p?")]
        assert left == [] and not succeeds("ip", "link", "show", "n1-wire")
    finally:
        if server:
            server.kill()
            server.wait()
        if not is_purged and shell.process.poll() is None:
            shell.process.stdin.write("set +e\n" + starting("README.md", "kill %1").text)
        shell.close()


def test_readme_builds_and_installs(tmp_path):
    """The line is run in a copy of the sources, with DESTDIR; what a user needs is installed, and nothing for tests is built."""
    if shutil.which("meson") is None:
        pytest.skip("meson is not installed")
    tree, dest = tmp_path / "leat", tmp_path / "dest"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    for name in map(os.fsdecode, filter(None, names)):
        if os.path.exists(os.path.join(ROOT, name)) and not name.startswith("tests/"):
            os.makedirs(os.path.dirname(tree / name), exist_ok=True)
            shutil.copy(os.path.join(ROOT, name), tree / name, follow_symlinks=False)
    build, units = command_lines(starting("README.md", "sudo scripts/deps --build"))
    done = subprocess.run(["bash", "-euc", 'sudo() { "$@"; }\n' + build], cwd=tree, capture_output=True, text=True, timeout=600,
                          env={**os.environ, "DESTDIR": str(dest)}, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    installed = {os.path.relpath(os.path.join(d, f), dest) for d, _, files in os.walk(dest) for f in files}
    wanted = {"opt/cni/bin/leat-cni", "usr/local/sbin/leatd", "usr/local/bin/leatctl", "usr/local/libexec/leat/hugepages",
              "usr/local/share/bash-completion/completions/leatctl",
              *(f"usr/local/share/man/man8/{p}.8" for p in ("leatd", "leatctl", "leat-cni"))}
    unit = "usr/local/lib/systemd/system/"
    for name in re.findall(r"leat[\w@-]+", units):  # leatd@default is of leatd@
        wanted.add(unit + re.sub(r"@.*", "@", name) + ".service")
    assert wanted <= installed, wanted - installed
    assert not os.path.exists(tree / "build" / "tests") and not os.path.exists(tree / "build" / "perf")


def test_services_algorithm_is_the_model_s():
    """docs/services.md's Python, run as it stands, chooses what the independent model (which the packet suite compares leat with) chooses."""
    import backends as model  # pylint: disable=import-outside-toplevel
    names, rng = {}, random.Random(9)
    exec(starting("docs/services.md", "from math").text, names)  # pylint: disable=exec-used

    def wide(ip):
        return model.mapped(ip).to_bytes(16, "big")
    for n in (1, 2, 3, 7, 40):
        usable = sorted({f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}" for _ in range(n)}, key=wide)
        weights = [rng.choice((1, 1, 2, 300)) for _ in usable]
        ours = [(wide(ip), 8080, weight) for ip, weight in zip(usable, weights)]
        theirs = tuple((ip, 8080, weight) for ip, weight in zip(usable, weights))
        for algorithm in ("maglev", "hash"):
            table = names["table_of"](ours, ours, algorithm)
            assert table == model.table_of(len(usable), theirs, algorithm)
        for _ in range(50):
            src, dst, sport, dport = f"10.9.{rng.randrange(256)}.1", "10.96.0.1", rng.randrange(65536), 80
            h = names["service_hash"](wide(src), wide(dst), sport, dport, 6)
            assert h == model.service_hash(model.mapped(src), model.mapped(dst), sport, dport, 6)
            assert 0 <= names["choose"](table, h) < len(usable)
        assert names["client_hash"](wide("10.9.0.1")) == model.service_hash(model.mapped("10.9.0.1"), 0, 0, 0, 0)
