# SPDX-License-Identifier: BSD-3-Clause
"""Descriptors that no driver makes. Each function spoils one entry of a ring: (guest, ring), without publishing it."""
import struct

import vhost_guest as vg


def desc_self_loop(guest, ring):
    ring.set_desc(0, guest.guest_base + ring.buf(0), 64, vg.DESC_NEXT, 0)
    ring.set_avail(0)


def desc_two_loop(guest, ring):
    ring.set_desc(0, guest.guest_base + ring.buf(0), 64, vg.DESC_NEXT, 1)
    ring.set_desc(1, guest.guest_base + ring.buf(1), 64, vg.DESC_NEXT, 0)
    ring.set_avail(0)


def desc_head_outside(_guest, ring):
    ring.set_avail(ring.size)


def desc_next_outside(guest, ring):
    ring.set_desc(0, guest.guest_base + ring.buf(0), 64, vg.DESC_NEXT, 0xffff)
    ring.set_avail(0)


def desc_addr_outside(_guest, ring):
    ring.set_desc(0, 0x123, 64)
    ring.set_avail(0)


def desc_addr_wraps(guest, ring):
    ring.set_desc(0, guest.guest_base + guest.bytes - 16, 0xffffffff)
    ring.set_avail(0)


def desc_len_0(guest, ring):
    ring.set_desc(0, guest.guest_base + ring.buf(0), 0)
    ring.set_avail(0)


def desc_shorter_than_header(guest, ring):
    ring.set_desc(0, guest.guest_base + ring.buf(0), 5)
    ring.set_avail(0)


def desc_indirect_loop(guest, ring):
    guest.write(ring.indirect, struct.pack("<QIHH", guest.guest_base + ring.buf(0), 64, vg.DESC_NEXT, 0))
    ring.set_desc(0, guest.guest_base + ring.indirect, 16, vg.DESC_INDIRECT)
    ring.set_avail(0)


def desc_indirect_outside(guest, ring):
    ring.set_desc(0, guest.guest_base + guest.bytes, 160, vg.DESC_INDIRECT)
    ring.set_avail(0)


def desc_indirect_huge(guest, ring):
    ring.set_desc(0, guest.guest_base + ring.indirect, 0xfffffff0, vg.DESC_INDIRECT)
    ring.set_avail(0)


def desc_indirect_nested(guest, ring):
    guest.write(ring.indirect, struct.pack("<QIHH", guest.guest_base + ring.indirect, 16, vg.DESC_INDIRECT, 0))
    ring.set_desc(0, guest.guest_base + ring.indirect, 16, vg.DESC_INDIRECT)
    ring.set_avail(0)


BAD_DESCS = [desc_self_loop, desc_two_loop, desc_head_outside, desc_next_outside, desc_addr_outside, desc_addr_wraps,
             desc_len_0, desc_shorter_than_header, desc_indirect_loop, desc_indirect_outside, desc_indirect_huge,
             desc_indirect_nested]
