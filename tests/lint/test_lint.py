# SPDX-License-Identifier: BSD-3-Clause
"""What the sources must look like: formatting, layers, the ban list of the packet path, shell, spelling."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 600

# A folder may include itself and what it lists here (ARCHITECTURE: "who may include whom").
BASE = {"datapath/base"}
LEAVES = BASE | {"datapath/packet", "datapath/table"}
DATAPATH = LEAVES | {"datapath/fast", "datapath/slow", "datapath/pipeline"}
LAYERS = {
    "datapath/base": BASE,
    "datapath/packet": BASE,
    "datapath/table": BASE,
    "datapath/pipeline": DATAPATH,
    "datapath/fast": LEAVES,
    "datapath/slow": LEAVES,
    "pmd": DATAPATH,
    "control": DATAPATH | {"pmd", "control/client"},
    "control/client": set(),
    "control/ctl": {"control/client"},
    "control/kube": {"control/client"},
    "cni": {"control/client"},
}
# What crosses the table on purpose. The pipeline's batch and observers are what stages and layers work on; the
# stage that hands packets to the layers calls them; the ban list is one file; a path holds its encapsulation.
CROSSINGS = {
    "datapath/fast": r"datapath/pipeline/(batch|port|punt|observe|stage)\.h|datapath/slow/(slow|flow_nat)\.h",
    "datapath/slow": r"datapath/pipeline/(batch|port|punt|observe|layer)\.h|datapath/fast/poison\.h",
    "datapath/table": r"datapath/packet/vxlan\.h",
}
POISONED = re.compile(
    r"\b(log_(err|warn|info|debug)|LOG_(ERR|WARN|INFO|DEBUG)|f?printf|syslog|rte_log|RTE_LOG|malloc|calloc|"
    r"realloc|strdup|free|rte_z?malloc|rte_free)\s*\("
)


def tracked(*patterns):
    out = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    return [ROOT / line for line in out.splitlines() if (ROOT / line).is_file()]


def text_of(path):
    return path.read_text(encoding="utf-8")


def name_of(path):
    return str(path.relative_to(ROOT))


def code_of(path):
    """The C code without comments and strings, line numbers kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text_of(path), flags=re.DOTALL)


def layer_of(name):
    parts = name.split("/")
    for depth in (2, 1):
        layer = "/".join(parts[:depth])
        if layer in LAYERS and len(parts) > depth:
            return layer
    return None


def c_files():
    return tracked("*.c", "*.h")


def shell_files():
    return [
        path for path in tracked()
        if path.suffix == ".sh" or (not path.suffix and re.match(rb"#!.*\bsh\b|#!.*bash", path.read_bytes()[:80]))
    ]


def test_c_files_are_formatted():
    result = subprocess.run(
        ["clang-format-14", "--style=file", "--dry-run", *map(name_of, c_files())],
        cwd=ROOT, capture_output=True, text=True,
    )
    bad = sorted({line.split(":", 1)[0] for line in result.stderr.splitlines() if "-Wclang-format" in line})
    assert result.returncode == 0, result.stderr
    assert not bad, f"scripts/format repairs: {' '.join(bad)}"


def test_includes_stay_in_their_layer():
    bad = []
    for path in c_files():
        name = name_of(path)
        layer = layer_of(name)
        if layer is None:
            continue
        for number, line in enumerate(text_of(path).splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            target = match.group(1)
            target_layer = layer_of(target)
            if "/" not in target or (target_layer is None and target.split("/")[0] in ("perf", "tests")):
                bad.append(f"{name}:{number}: {target}: written from the root, never from perf or tests")
            elif target_layer not in (None, layer) and target_layer not in LAYERS[layer]:
                if re.fullmatch(CROSSINGS.get(layer, ""), target):
                    continue
                bad.append(f"{name}:{number}: {layer} may not include {target}")
    assert not bad, "\n".join(bad)


def test_datapath_programs_without_dpdk_do_not_include_it():
    bad = []
    for path in c_files():
        if layer_of(name_of(path)) in ("control/client", "control/ctl", "cni"):
            if re.search(r"#\s*include\s+<rte_", text_of(path)):
                bad.append(name_of(path))
    assert not bad, bad


def test_fast_and_slow_path_neither_log_nor_allocate():
    bad = []
    for path in tracked("datapath/fast/*.[ch]", "datapath/slow/*.[ch]"):
        for number, line in enumerate(code_of(path).splitlines(), 1):
            if POISONED.search(line) and "GCC poison" not in line:
                bad.append(f"{name_of(path)}:{number}: {line.strip()}")
    assert not bad, "\n".join(bad)


def test_shell_scripts_pass_shellcheck():
    files = shell_files()
    assert files
    result = subprocess.run(
        ["shellcheck", "-x", *map(name_of, files)], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("words", [("mandoc", "-Tlint", "-W", "warning"), ("groff", "-mandoc", "-Tutf8", "-ww")], ids=["mandoc", "groff"])
def test_manual_pages_are_clean(words):
    """leatctl's is made by leatctl: tests/api/test_ctl_help.py looks at it."""
    pages = tracked("docs/man/*.8")
    assert pages
    for page in pages:
        result = subprocess.run([*words, name_of(page)], cwd=ROOT, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, ""), result.stderr


def test_manual_pages_refer_to_pages_that_there_are():
    there = {name_of(path).split("/")[-1] for path in tracked("docs/man/*.8")} | {"leatctl.8"}
    for page in tracked("docs/man/*.8"):
        text = text_of(page)
        assert re.search(r"^\.S[hH] EXAMPLES$", text, re.MULTILINE), name_of(page)
        refs = re.findall(r"^\.Xr ([\w-]+) (\d)", text, re.MULTILINE) + re.findall(r"^\.BR ([\w\\-]+) \((\d)\)", text, re.MULTILINE)
        assert refs
        assert {f"{name}.{section}".replace("\\", "") for name, section in refs} <= there


def test_words_are_spelled_right():
    files = [name_of(path) for path in tracked() if "corpus" not in path.parts and path.suffix not in (".svg", ".pcap")]
    result = subprocess.run(
        ["codespell", "--ignore-words-list", "leat,nd,inout,inflight,nmae,ot,te,fo,ist", *files],
        cwd=ROOT, capture_output=True, text=True,
    )
    assert result.returncode == 0, result.stdout


def test_tests_never_sleep():
    """Between two looks at a condition up to 50 ms may pass; anything longer hopes instead of waiting."""
    bad = []
    pattern = re.compile(
        r"\btime\.sleep\((?!0?\.0[0-4]?\d*\))|\busleep\((?![1-4]?\d{1,4}\))|\bnanosleep\(|"
        r"(?<![._\w])sleep\(|^\s*sleep\s+[0-9]"
    )
    for path in tracked("tests/*"):
        if path.suffix not in (".py", ".c", ".h", ".sh") or name_of(path).startswith("tests/lint/"):
            continue
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if pattern.search(line):
                bad.append(f"{name_of(path)}:{number}: {line.strip()}")
    assert not bad, "wait for a condition with a deadline instead:\n" + "\n".join(bad)


def test_files_name_their_licence():
    bad = []
    for path in tracked("*.c", "*.h", "*.def", "*.py", "*.sh", "*meson.build", *map(name_of, shell_files())):
        if "SPDX-License-Identifier: BSD-3-Clause" not in "\n".join(text_of(path).splitlines()[:5]):
            bad.append(name_of(path))
    assert not bad, bad


def test_files_are_not_too_long():
    bad = []
    for path in tracked("*.c", "*.h", "*.py", *map(name_of, shell_files())):
        n_lines = len(text_of(path).splitlines())
        if n_lines > MAX_LINES:
            bad.append(f"{name_of(path)}: {n_lines} lines")
    assert not bad, bad


def test_text_has_no_trailing_blanks():
    bad = []
    for path in tracked("*.c", "*.h", "*.def", "*.py", "*.sh", "*.md", "*meson.build", *map(name_of, shell_files())):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if line != line.rstrip():
                bad.append(f"{name_of(path)}:{number}")
    assert not bad, bad


def test_drop_reasons_are_all_used():
    """A reason that nothing counts is a promise that the counters do not keep."""
    names = re.findall(r"^DROP\((\w+),", text_of(ROOT / "datapath/base/drop.def"), re.MULTILINE)
    assert len(names) == len(set(names))
    code = "\n".join(code_of(path) for path in tracked("datapath/*.[ch]", "pmd/*.[ch]", "control/*.[ch]"))
    unused = [name for name in names if name != "NONE" and not re.search(rf"\bDROP_{name}\b", code)]
    assert not unused, unused


@pytest.mark.parametrize("path", ["scripts/test", "scripts/demo", "scripts/lab", "scripts/deps", ".ci/run"])
def test_script_can_be_run(path):
    assert os.access(ROOT / path, os.X_OK)


def test_sysusers_file_makes_the_group(tmp_path):
    if shutil.which("systemd-sysusers") is None:
        pytest.skip("systemd-sysusers is not installed")
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", ROOT / "scripts/systemd/leat.sysusers.conf"], check=True,
                   capture_output=True)
    assert re.search(r"^leat:x:\d+:", text_of(tmp_path / "etc/group"), re.M)
