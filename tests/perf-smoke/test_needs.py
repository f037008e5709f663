# SPDX-License-Identifier: BSD-3-Clause
"""perf/run and perf/bench where something is missing: they build it, say the line to type, or skip loudly. Never a traceback."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("control/leatd", "perf/leat-gen", "perf/leat-probe", "perf/leat-bench")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def run(checkout, *argv, **env):
    done = subprocess.run([str(checkout / argv[0]), *argv[1:]], capture_output=True, text=True, timeout=120, check=False,
                          env={**{k: v for k, v in os.environ.items() if k != "LEAT_BUILD"}, **env})
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def checkout(tmp_path):
    """perf/ and scripts/hugepages in a checkout of their own, nothing built."""
    shutil.copytree(ROOT / "perf", tmp_path / "perf")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "hugepages", tmp_path / "scripts")
    return tmp_path


@pytest.fixture
def path(tmp_path):
    """Makes a PATH without the programs named; those in `fakes` are shell scripts."""
    def without(*names, **fakes):
        folder = tmp_path / "bin"
        folder.mkdir()
        for directory in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
            for entry in os.scandir(directory):
                if entry.name not in names and entry.name not in fakes and not (folder / entry.name).is_symlink():
                    (folder / entry.name).symlink_to(entry.path)
        for name, text in fakes.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
            (folder / name).chmod(0o755)
        return str(folder)
    return without


@pytest.mark.parametrize("words", [("perf/run", "pvp-l3", "--peers", "leat"), ("perf/bench", "--quick")])
def test_named_build_without_the_programs_says_the_line_to_type(checkout, words):
    rc, _, err = run(checkout, *words, LEAT_BUILD=str(checkout / "nowhere"))
    assert rc == 1
    assert "control/leatd is not there" in err
    assert f"meson setup -Dbenchmarks=true {checkout}/nowhere {checkout} && ninja -C {checkout}/nowhere" in err


def test_build_for_users_is_told_apart_from_none(checkout):
    (checkout / "build" / "control").mkdir(parents=True)
    (checkout / "build" / "build.ninja").touch()
    shutil.copy("/bin/true", checkout / "build" / "control" / "leatd")
    rc, _, err = run(checkout, "perf/run", "pvp-l3", LEAT_BUILD=str(checkout / "build"))
    assert rc == 1 and "perf/leat-gen is not there" in err and "meson setup --reconfigure -Dbenchmarks=true" in err


def test_without_a_build_it_builds_what_it_needs(checkout, path):
    programs = " ".join(f"$folder/{p}" for p in PROGRAMS)
    fakes = {
        "meson": f'echo "meson $*" >>{checkout}/calls; mkdir -p "$3"; touch "$3/build.ninja"',
        "ninja": f'echo "ninja $*" >>{checkout}/calls; folder=$2; mkdir -p $folder/control $folder/perf; cp /bin/false $folder/control/leatd;'
                 f' for p in {programs}; do cp /bin/false "$p"; done',
    }
    rc, out, _ = run(checkout, "perf/run", "pvp-l3", "--peers", "leat", "--rounds", "1", PATH=path(**fakes))
    calls = (checkout / "calls").read_text(encoding="ascii").splitlines()
    assert calls == [f"meson setup -Dbenchmarks=true {checkout}/build-perf {checkout}", f"ninja -C {checkout}/build-perf"]
    assert rc == 1 and "ERROR leatd ended" in out


def test_build_that_fails_or_cannot_be_made_is_said(checkout, path):
    rc, _, err = run(checkout, "perf/run", "pvp-l3", PATH=path("meson", ninja="true"))
    assert rc == 1 and "meson is not installed; sudo scripts/deps installs it" in err
    shutil.rmtree(checkout / "bin")
    rc, _, err = run(checkout, "perf/run", "pvp-l3", PATH=path(meson="echo no compiler; exit 1", ninja="true"))
    assert rc == 1 and "failed:\nno compiler" in err


@pytest.mark.parametrize("scenario,peer,tool", [("pvp-l3", "testpmd", "dpdk-testpmd"), ("pvp-vxlan", "ovs", "ovs-vsctl"),
                                                ("tcp-pod", "kernel", "iperf3"), ("scale-services", "nftables", "nft"),
                                                ("scale-services", "iptables-nft", "iptables-nft-restore")])
def test_missing_peer_is_skipped_loudly(path, scenario, peer, tool):
    if "LEAT_BUILD" not in os.environ:
        pytest.skip("needs LEAT_BUILD")
    rc, out, err = run(ROOT, "perf/run", scenario, "--peers", peer, "--rounds", "1", PATH=path(tool), LEAT_BUILD=os.environ["LEAT_BUILD"])
    line = f"SKIPPED {scenario} {peer}: {tool} is not installed; sudo scripts/deps installs it"
    assert rc == 1, "a run that measured nothing is not a success"
    assert out.count(line) == 2, out + err
    assert out.rstrip().endswith(line)


def test_missing_peer_does_not_keep_others_from_being_measured(path):
    if "LEAT_BUILD" not in os.environ:
        pytest.skip("needs LEAT_BUILD")
    rc, out, _ = run(ROOT, "perf/run", "pvp-l3", "--peers", "testpmd,ovs", "--rounds", "1", "--frames", "64", "--flows", "1", "--seconds",
                     "0.05", PATH=path("ovs-vsctl"), LEAT_BUILD=os.environ["LEAT_BUILD"])
    assert rc == 0 and "pvp-l3     testpmd" in out and "SKIPPED pvp-l3 ovs" in out


def test_hugepages_that_are_not_to_be_had_are_said(checkout):
    (checkout / "scripts" / "hugepages").write_text('#!/bin/sh\necho "hugepages: $1 MiB wanted, only 2 MiB are to be had" >&2\nexit 1\n',
                                                    encoding="ascii")
    build = os.environ.get("LEAT_BUILD", str(ROOT / "build-perf"))
    if not os.path.exists(f"{build}/perf/leat-gen"):
        pytest.skip("leat-gen is not built")
    rc, _, err = run(checkout, "perf/run", "pvp-l3", "--peers", "leat", LEAT_BUILD=build)
    assert rc == 1 and "perf/run: " in err and "716 MiB wanted" in err
