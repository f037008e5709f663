# SPDX-License-Identifier: BSD-3-Clause
"""A virtual machine (QEMU, Debian's cloud kernel, its virtio-net driver) as vhost-user pod, beside a kernel pod on a tap.

The kernel: /boot/vmlinuz-*-cloud-amd64 with its modules, or the same two folders below $LEAT_VM_KERNEL
(the unpacked linux-image-*-cloud-amd64 package).
"""
import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lab"))
from test_vhost_leatd import LEATD, Daemon, wait_up  # noqa: E402  pylint: disable=wrong-import-position
from waiting import wait_for  # noqa: E402

ROOT = os.environ.get("LEAT_VM_KERNEL", "/")
KERNELS = sorted(glob.glob(os.path.join(ROOT, "boot", "vmlinuz-*-cloud-amd64")))
MODULES = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "failover", "net_failover",
           "virtio_net"]
VM_IP, POD_IP, GATEWAY = "10.9.0.2", "10.9.0.3", "169.254.1.1"
BLOB_BYTES = 6 << 20
RING_PACKED = 34  # virtio 1.2, section 6

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists(LEATD), reason="leatd is not built"),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs qemu-system-x86_64"),
    pytest.mark.skipif(not KERNELS, reason="needs Debian's cloud kernel (linux-image-cloud-amd64)"),
    pytest.mark.skipif(not os.path.exists("/bin/busybox"), reason="needs busybox-static"),
]

INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for m in {' '.join(MODULES)}; do insmod /modules/$m.ko || echo "VM no $m"; done
ip link set lo up
ip link set eth0 up
ip addr add {VM_IP}/32 dev eth0
ip route add {GATEWAY} dev eth0
ip route add default via {GATEWAY} dev eth0
mkdir -p /www
echo "VM ready"
ping -c 3 -W 2 {POD_IP} && echo "VM ping ok"
wget -q -O /www/blob http://{POD_IP}:8000/blob && md5sum /www/blob | sed "s/^/VM md5 /"
httpd -p 80 -h /www && echo "VM serves"
while true; do sleep 3600; done
"""


def initramfs(folder):
    """A cpio with busybox, the modules and the init above."""
    tree = os.path.join(folder, "tree")
    for name in ("bin", "modules", "proc", "dev"):
        os.makedirs(os.path.join(tree, name))
    shutil.copy("/bin/busybox", os.path.join(tree, "bin", "busybox"))
    release = os.path.basename(KERNELS[-1])[len("vmlinuz-"):]
    for name in MODULES:
        found = glob.glob(os.path.join(ROOT, "lib", "modules", release, "**", name + ".ko"), recursive=True)
        assert found, f"module {name} of {release}"
        shutil.copy(found[0], os.path.join(tree, "modules"))
    with open(os.path.join(tree, "init"), "w", encoding="ascii") as file:
        file.write(INIT)
    os.chmod(os.path.join(tree, "init"), 0o755)
    path = os.path.join(folder, "initramfs")
    subprocess.run(f"find . | busybox cpio -o -H newc > {path}", shell=True, check=True, cwd=tree,
                   stderr=subprocess.DEVNULL)
    return path


class Machine:
    def __init__(self, folder, path, mac, queues=1, properties=""):
        self.log_path = os.path.join(folder, "console")
        self.log_file = open(self.log_path, "wb")
        self.process = subprocess.Popen([
            "qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-smp", "1", "-nographic", "-no-reboot", "-nodefaults",
            "-serial", "stdio", "-machine", "q35,memory-backend=m", "-object", "memory-backend-memfd,id=m,size=256M,share=on",
            "-chardev", f"socket,id=c,path={path},reconnect=1", "-netdev", f"vhost-user,id=n,chardev=c,queues={queues}",
            "-device", f"virtio-net-pci,netdev=n,mac={mac},vectors=0{properties}", "-kernel", KERNELS[-1],
            "-initrd", initramfs(folder), "-append", "console=ttyS0 quiet panic=-1"],
            stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=self.log_file)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_for(self, text, deadline_s=60):
        wait_for(lambda: text in self.log() or self.process.poll() is not None, f"{text!r} from the machine", deadline_s)
        assert text in self.log(), self.log()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log_file.close()




@pytest.fixture
def netns():
    name = f"leat-vq-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.mark.parametrize("queues,properties", [(1, ""), (1, ",packed=on"), (2, ",mq=on"), (2, ",mq=on,packed=on")])
def test_vhost_qemu_machine_and_kernel_pod_exchange_files(netns, queues, properties):
    """Ping; a file each way over TCP with checksum and segmentation offloads on both ends; then leatd is killed with the
    machine attached, twice and ended once, and its connections work again with the next one. QEMU cannot tell the next one where a packed
    ring stood, so a machine that could have one gets a split one."""
    folder = tempfile.mkdtemp(prefix="leat-vq-")
    daemon, machine, server = Daemon(), None, None
    try:
        daemon.call("endpoint.attach", id="pod", kind="tap", netns=f"/run/netns/{netns}", addresses=[POD_IP + "/32"])
        vm = daemon.call("endpoint.attach", id="vm", kind="vhost-user", addresses=[VM_IP + "/32"], queues=queues)
        with open(os.path.join(folder, "blob"), "wb") as file:
            file.write(os.urandom(BLOB_BYTES))
        with open(os.path.join(folder, "blob"), "rb") as file:
            digest = hashlib.md5(file.read()).hexdigest()
        server = subprocess.Popen(["ip", "netns", "exec", netns, sys.executable, "-m", "http.server", "8000", "-d", folder],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        machine = Machine(folder, vm["socket"], vm["mac"], queues, properties)
        machine.wait_for("VM ping ok")
        machine.wait_for(f"VM md5 {digest}")
        machine.wait_for("VM serves")
        details = daemon.call("port.show", name="vm")["details"]
        for shown in ("csum=yes", "tso4=yes", "tso6=yes", "mergeable=yes", "up=yes"):
            assert shown in details, details
        assert int(details.split("features=")[1].split()[0], 16) >> RING_PACKED & 1 == 0, details

        def fetch():
            done = subprocess.run(["ip", "netns", "exec", netns, "curl", "-s", "-m", "20", f"http://{VM_IP}/blob"],
                                  capture_output=True, timeout=60)
            return hashlib.md5(done.stdout).hexdigest() == digest
        assert fetch()
        drops = {(port, reason): n for (port, reason), n in daemon.drops().items()
                 if reason in ("vnet_hdr", "guest_desc", "gso_failed", "tx_error")}
        assert drops == {}
        for end in (daemon.kill, daemon.kill, daemon.stop):
            end()
            daemon.start()
            wait_up(daemon, "vm")
            wait_for(fetch, f"a file after leatd was ended by {end.__name__} and started", 30)
    finally:
        if machine:
            machine.close()
        if server:
            server.kill()
            server.wait()
        daemon.close()
        shutil.rmtree(folder, ignore_errors=True)
