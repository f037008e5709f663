/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel device under an af_packet uplink. leatd takes the device's traffic: an ingress chain (nftables, netdev
 * family) drops for the kernel what the packet socket has seen already, addresses on the device are refused (leatd
 * would cut the node off), and receive merging is turned off, because frames above the MTU would be cut short.
 * Control thread.
 */
#ifndef LEAT_PMD_UPLINK_NETDEV_H
#define LEAT_PMD_UPLINK_NETDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <net/if.h>

#include <rte_ether.h>

struct uplink_netdev;

/* Whether the device string is for the driver of packet sockets (kind_packet.c): af_packet without ring parameters. */
bool uplink_netdev_is_packet(const char *device);

/* The kernel device that the string names (iface=…); false: none. */
bool uplink_netdev_iface(const char *device, char ifname[IFNAMSIZ]);

/* If device is an af_packet string: checks its interface, takes it over (drop rule, MTU, features, up), completes the
 * string in devargs with frame and ring sizes that fit the MTU (devargs NULL: kind_packet.c's own sockets, which know
 * super-frames and unfinished checksums), and sets *out. Any other device string is copied, *out is NULL. 0, or -errno
 * with a sentence. */
int uplink_netdev_open(const char *device, uint16_t mtu, uint16_t n_queues, uint16_t n_desc,
	char *devargs, size_t devargs_size, struct uplink_netdev **out, char *errbuf,
	size_t errlen);

const char *uplink_netdev_ifname(const struct uplink_netdev *u);
int uplink_netdev_ifindex(const struct uplink_netdev *u);
/* Whether an earlier leatd had taken the device (its drop rule was there): a set-up that fails leaves it so. Accepts NULL. */
bool uplink_netdev_was_ours(const struct uplink_netdev *u);
/* Whether the device is up and has a carrier; fd: any socket of the namespace. Any thread. */
bool uplink_netdev_is_running(const struct uplink_netdev *u, int fd);
struct rte_ether_addr uplink_netdev_mac(const struct uplink_netdev *u);

/* After the driver has opened its sockets: finds them. */
void uplink_netdev_take(struct uplink_netdev *u);

/* The packet socket of the queue, readable when frames wait; -1: not found. */
int uplink_netdev_rx_fd(const struct uplink_netdev *u, uint16_t queue);

/* Looks whether the drop rule of an open port of such a string is in place and puts it back: 1 it was gone, 0 it is there (or
 * the device needs none), -errno. */
int uplink_netdev_guard(const char *device);

/* Undoes the rule and the features unless keep. Accepts NULL. */
void uplink_netdev_close(struct uplink_netdev *u, bool keep);

/* Removes the drop rule that an instance left behind on the device of such a string (purge). 0, -ENOENT, -errno. */
int uplink_netdev_purge(const char *device);

#endif
