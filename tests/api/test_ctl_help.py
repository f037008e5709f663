# SPDX-License-Identifier: BSD-3-Clause
"""Help, completion and manual of leatctl: they follow from the tables, know the daemon's names, and never do anything."""
import json
import os
import re
import shutil
import subprocess

import pytest
from node import LEATCTL, ROOT

SCHEMA = json.loads(subprocess.run([LEATCTL, "--offline-schema"], capture_output=True, text=True, check=True).stdout)
METHODS = [name.split(".") for name in SCHEMA["methods"]]
OWN = [["config", "diff"], ["config", "apply"], ["event", "watch"], ["trace"], ["top"], ["support-bundle"]]
SHORT = [["status"], ["ports"], ["explain"], ["metrics"], ["log"]]


def ctl(*words, cwd=None):
    return subprocess.run([LEATCTL, "-i", "no-such-instance", *words], capture_output=True, text=True, timeout=30, cwd=cwd, check=False)


@pytest.mark.parametrize("word", ("help", "--help", "-h"))
def test_help_behind_anything_says_more_and_does_nothing(tmp_path, word):
    objects = sorted({m[0] for m in METHODS})
    for words in [*METHODS, *OWN, *SHORT, *([o] for o in objects)]:
        for more in ([word], ["x", word], ["a=b", word, "c"]):
            done = ctl(*words, *more, cwd=tmp_path)
            assert done.returncode == 0 and done.stderr == "", (words, more, done.stderr)
            assert words[0] in done.stdout or words in SHORT, (words, done.stdout)
    assert os.listdir(tmp_path) == []


def test_help_before_is_the_same_as_behind():
    for words in [*METHODS, *OWN, ["port"], ["explain"]]:
        assert ctl("help", *words).stdout == ctl(*words, "help").stdout


def test_help_about_what_is_not_there():
    for words in (["help", "nonsense"], ["nonsense", "help"]):
        done = ctl(*words)
        assert done.returncode == 2 and "nonsense" in done.stderr


def test_bare_command_shows_everything_in_groups():
    done = ctl()
    assert done.returncode == 2 and done.stdout == ctl("help").stdout
    lines = done.stdout.splitlines()
    assert len(lines) < 60 and max(map(len, lines)) <= 110
    for name, verb in METHODS:
        (line,) = [text for text in lines if text.split()[:1] == [name] and text.startswith("  ")]
        assert verb in line.split(), line
    for words in OWN:
        assert any(text.split()[:1] == words[:1] and words[-1] in text for text in lines), words


@pytest.mark.parametrize("program", ("control/leatd", "cni/leat-cni", "control/ctl/leatctl"))
def test_programs_have_help(program):
    done = subprocess.run([os.path.join(os.environ["LEAT_BUILD"], program), "--help"], capture_output=True, text=True, timeout=30,
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0 and program.split("/")[-1] in done.stdout and done.stderr == ""


@pytest.mark.parametrize("script", ("demo", "test", "lab", "deps", "format", "hugepages"))
@pytest.mark.parametrize("word", ("help", "--help", "-h"))
def test_scripts_have_help(script, word):
    done = subprocess.run([os.path.join(ROOT, "scripts", script), word], capture_output=True, text=True, timeout=30,
                          stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0 and script in done.stdout and done.stderr == ""


@pytest.fixture
def busy(running):
    """A daemon with something of every kind that has a name."""
    running.ctl("port", "add", "up", "ring", "role=uplink", "addresses=192.0.2.1/24")
    running.ctl("port", "add", "upper", "ring", "role=uplink", "addresses=198.51.100.1/24")
    running.ctl("zone", "add", "7")
    running.ctl("port", "add", "pod", "ring", "role=pod")
    running.ctl("endpoint", "add", "cid:eth0", "port=pod", "addresses=10.0.0.1")
    running.ctl("policy", "add", "shield")
    running.ctl("policy", "add", "sword")
    running.ctl("rule", "add", "shield", "web", "direction=ingress", "action=allow")
    running.ctl("service", "add", "shop", 'frontends=[{"ip":"10.96.0.1","port":80}]', "backends=[]")
    running.ctl("route", "add", "10.1.0.0/16", "via=192.0.2.9")
    return running


def completed(daemon, *words):
    done = subprocess.run([LEATCTL, "-i", daemon.instance, "complete", *words], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("words,some", [
    (["port", "show", ""], {"up", "upper", "name="}), (["port", "show", "upp"], {"upper"}), (["port", "del", "u"], {"up", "upper"}),
    (["port", "add", ""], {"name=", "kind="}), (["port", "add", "x", "r"], {"ring", "role="}), (["port", "add", "x", "ring", "role="], {"uplink", "host"}),
    (["endpoint", "show", "c"], {"cid:eth0"}), (["endpoint", "add", "x", "port=u"], {"up", "upper"}),
    (["policy", "bind", "s"], {"shield", "sword"}), (["policy", "bind", "shield", ""], {"cid:eth0", "endpoint="}),
    (["policy", "bind", "endpoint="], {"cid:eth0"}), (["rule", "add", ""], {"shield", "sword"}), (["rule", "del", "shield", ""], {"web"}),
    (["rule", "add", "shield", "x", "action="], {"allow", "deny"}), (["service", "del", ""], {"shop"}),
    (["service", "add", "x", "replace="], {"true", "false"}), (["route", "del", "10"], {"10.1.0.0/16"}), (["route", "list", "zone="], {"7"}),
    (["explain", ""], {"up", "pod", "src="}), (["event", "watch", ""], {"port"}), (["top", ""], {"interval=", "count="}),
    (["trace", ""], {"start", "show", "wait=", "src="}), (["trace", "wait=1", "s"], {"src=", "sport="}), (["help", "por"], {"port", "ports"}),
    (["help", "port", "d"], {"del"}), (["sta"], {"status", "stage"}), (["sup"], {"support-bundle"}),
])
def test_completion_knows_names_and_values(busy, words, some):
    got = completed(busy, *words)
    assert some <= set(got), got
    begin = words[-1].rpartition("=")[2]
    assert all(word.startswith(begin) for word in got), got


def test_completion_does_not_offer_twice_or_make_names_up(busy):
    assert "name=" not in completed(busy, "port", "show", "name=up", "")
    assert not {"up", "upper"} & set(completed(busy, "port", "add", ""))


def test_completion_without_a_daemon_knows_the_tables():
    done = ctl("complete", "port", "add", "x", "ring", "role=")
    assert {"uplink", "host", "pod"} & set(done.stdout.split())
    assert ctl("complete", "port", "show", "").stdout == "name=\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("line,want", [
    ("leatctl -i {i} port show upp", ["upper"]), ("leatctl -i {i} endpoint show cid:e", ["eth0"]), ("leatctl -i {i} port add x kind=ri", ["ring"]),
    ("leatctl -i {i} policy bind shield ", ["cid:eth0", "endpoint="]), ("leatctl -i {i} po", None), ("leatctl -i ", [""]),
])
def test_bash_completes_a_line(busy, line, want):
    script = os.path.join(ROOT, "control", "ctl", "leatctl.bash")
    text = line.format(i=busy.instance)
    done = subprocess.run(["bash", "-c", f'. {script}; COMP_LINE=$1 COMP_POINT=${{#1}}; COMP_WORDS=({LEATCTL}); _leatctl;'
                           ' printf "%s\n" "${COMPREPLY[@]}"', "x", text], capture_output=True, text=True, timeout=30, check=True)
    got = done.stdout.splitlines()
    if want is None:
        assert {"port", "policy", "pool", "ports", "policies"} == set(got)
    else:
        assert set(want) <= set(got) and (line.endswith(" ") or len(got) == len(want))


def test_trace_says_what_it_waits_for(busy):
    done = subprocess.run([LEATCTL, "-i", busy.instance, "trace", "wait=0", "src=10.0.0.1/32", "count=3"], capture_output=True, text=True,
                          timeout=30, check=False)
    assert "waiting up to 0 s for the next 3 packets with src=10.0.0.1/32" in done.stderr and done.returncode == 1
    done = subprocess.run([LEATCTL, "-i", busy.instance, "--json", "trace", "wait=0"], capture_output=True, text=True, timeout=30, check=False)
    assert "waiting" not in done.stderr


def test_manual_is_clean_for_mandoc_and_groff(tmp_path):
    page = tmp_path / "leatctl.8"
    page.write_text(subprocess.run([LEATCTL, "man"], capture_output=True, text=True, check=True).stdout, encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    for section in ("NAME", "SYNOPSIS", "COMMANDS", "EXAMPLES", "EXIT STATUS", "SEE ALSO"):
        assert f".Sh {section}\n" in text
    assert text.count("\n.Bl ") == text.count("\n.El")
    for name, verb in METHODS:
        assert f".It Cm {name} {verb}" in text
    for words in (["mandoc", "-Tlint", "-W", "warning"], ["groff", "-mandoc", "-Tutf8", "-ww"]):
        if shutil.which(words[0]) is None:
            pytest.skip(f"needs {words[0]}")
        done = subprocess.run([*words, str(page)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr + done.stdout[:500]
        if words[0] == "groff":  # the layout holds to the end: every command at the same indentation
            plain = re.sub(r".\x08|\x1b\[[0-9;]*m", "", done.stdout)
            lost = [(name, verb) for name, verb in METHODS if not re.search(rf"^ {{5}}{name} {verb}\b", plain, re.MULTILINE)]
            assert not lost
