# SPDX-License-Identifier: BSD-3-Clause
"""Processes of a measurement: started in a private directory, ended by their own id, never by name."""
import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("LEAT_BUILD") or os.path.join(ROOT, "build-perf"))
SWITCH_CORE = int(os.environ.get("LEAT_PERF_SWITCH_CORE", "1"))
GEN_CORE = int(os.environ.get("LEAT_PERF_GEN_CORE", "0"))
RING = int(os.environ.get("LEAT_PERF_RING", "1024"))
FEATURES = os.environ.get("LEAT_PERF_FEATURES", "mrg_rxbuf=0,in_order=1")


class PerfError(Exception):
    """A peer or tool did not do what it should; the message is for a person."""


def wait_for(what, check, seconds=20.0):
    """Polls check() until it is true; PerfError after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.02)
    raise PerfError(f"{what}: not there after {seconds:.0f} s")


class Workdir:
    """A short private directory (socket paths have 108 bytes), removed at the end."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="leat-perf-", dir="/tmp")
        if not os.environ.get("LEAT_PERF_KEEP"):
            atexit.register(self.remove)

    def file(self, name):
        return os.path.join(self.path, name)

    def remove(self):
        atexit.unregister(self.remove)
        shutil.rmtree(self.path, ignore_errors=True)


def prefer(pid):
    """Gives a session (an autogroup of the scheduler) the highest ordinary priority, so that what else runs on a busy
    machine takes a hundredth of a core and not half of it. The gate still reports it."""
    try:
        with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as f:
            f.write("-20")
    except OSError:
        pass  # no autogroups in this kernel, or not root: then it is as noisy as it is


class Proc:
    """A child with its log in a file; stdin is a pipe."""

    def __init__(self, name, argv, log, env=None, stdout=None):
        self.name = name
        self.log = log
        self._out = open(log, "a", encoding="utf-8", errors="replace")
        try:
            self.child = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=stdout or self._out, stderr=self._out, text=True,
                env={**os.environ, **(env or {})}, start_new_session=True)
        except OSError as e:
            self._out.close()
            raise PerfError(f"{argv[0]}: {e.strerror}") from e
        atexit.register(self.stop)  # whatever ends the run, and wherever

    def prefer(self):
        prefer(self.pid)

    @property
    def pid(self):
        return self.child.pid

    def is_alive(self):
        return self.child.poll() is None

    def write(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def tail(self, n=15):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-n:])

    def stop(self, last_words=None, seconds=10):
        """Idempotent."""
        atexit.unregister(self.stop)
        if self.is_alive():
            try:
                if last_words:
                    self.write(last_words)
                else:
                    self.child.send_signal(signal.SIGTERM)
                self.child.wait(seconds)
            except (subprocess.TimeoutExpired, BrokenPipeError, ValueError):
                self.child.kill()
                self.child.wait()
        for f in (self.child.stdin, self.child.stdout, self._out):
            if f:
                try:
                    f.close()
                except BrokenPipeError:
                    pass


def run(argv, env=None, seconds=30, check=True, preferred=False):
    """Runs a command to its end; its standard output. PerfError with its words if it fails. preferred: see
    Proc.prefer()."""
    try:
        child = subprocess.Popen(argv, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, start_new_session=preferred)
    except OSError as e:
        raise PerfError(f"{argv[0]}: {e.strerror}") from e
    with child:
        if preferred:
            prefer(child.pid)
        try:
            out, err = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as e:
            child.kill()
            raise PerfError(f"{' '.join(argv)}: not done after {seconds} s") from e
    if check and child.returncode:
        raise PerfError(f"{' '.join(argv)}: {err.strip() or out.strip()}")
    return out


def missing_tool(*names):
    """The first of the programs that is not installed, or None."""
    for n in names:
        if not shutil.which(n):
            return n
    return None
