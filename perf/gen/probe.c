/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * leat-probe NETNS_A DEV_A NETNS_B DEV_B GATEWAY_MAC SOURCE_IP: what leat-gen is to a switch of vhost-user ports, for a kernel
 * that routes between two veth devices. Sends on an AF_PACKET socket in one network namespace and receives on another in a second
 * one; the kernel under test runs within the call that sends, on this core. Arrival is the kernel's own time stamp at the receiving
 * device. Reads commands from standard input, answers each with a line of JSON: those of opener.h, and
 *
 *   rate vips=IP,… port=P flows=N seconds=S    as fast as it goes, one direction
 */
#include "perf/gen/opener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#define RATE_BURST 64
#define RX_BUFFER_BYTES (64 << 20)

struct probe {
	struct opener opener;
	int tx, rx, dev_stats; /* dev_stats: /proc/net/dev of the receiving namespace */
	const char *rx_dev;
};

static bool probe_send(struct opener *o, const struct opener_frame *frame)
{
	const struct probe *p = o->priv;

	return send(p->tx, frame, sizeof(*frame), 0) == (ssize_t)sizeof(*frame);
}

static uint64_t stamp_of(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec t;
			memcpy(&t, CMSG_DATA(c), sizeof(t));
			return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
		}
	return 0;
}

static bool probe_receive(struct opener *o)
{
	const struct probe *p = o->priv;
	char control[128], frame[OPENER_FRAME_LEN];
	struct iovec iov = { frame, sizeof(frame) };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(p->rx, &msg, MSG_DONTWAIT);

	if (n >= 0)
		opener_arrived(o, frame, (size_t)n, stamp_of(&msg));
	return n >= 0;
}

/* Packets that the receiving device has seen. */
static uint64_t dev_received(const struct probe *p)
{
	char text[4096], key[IFNAMSIZ + 2];
	ssize_t n = pread(p->dev_stats, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = 0;
	snprintf(key, sizeof(key), "%s:", p->rx_dev);
	const char *line = strstr(text, key);
	uint64_t pkts = 0;

	if (line)
		sscanf(line + strlen(key), "%*u %" SCNu64, &pkts);
	return pkts;
}

/* A filter that takes nothing: nobody copies packets during a measured window. */
static void rx_mute(const struct probe *p, bool is_muted)
{
	struct sock_filter nothing = { BPF_RET | BPF_K, 0, 0, 0 };
	struct sock_fprog prog = { 1, &nothing };

	setsockopt(p->rx, SOL_SOCKET, is_muted ? SO_ATTACH_FILTER : SO_DETACH_FILTER, &prog,
		sizeof(prog));
}

static uint64_t send_burst(const struct probe *p, uint32_t n_flows, uint64_t k)
{
	const struct opener *o = &p->opener;
	struct mmsghdr msg[RATE_BURST] = { 0 };
	struct iovec iov[RATE_BURST];
	struct opener_frame f[RATE_BURST];

	for (unsigned int i = 0; i < RATE_BURST; i++) {
		uint32_t flow = (uint32_t)((k + i) % n_flows);
		f[i] = opener_frame_to(o, o->vip[flow % o->n_vips],
			(uint16_t)(OPENER_SPORT_MIN + flow / o->n_vips));
		iov[i] = (struct iovec){ &f[i], sizeof(f[i]) };
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	int n = sendmmsg(p->tx, msg, RATE_BURST, 0);
	return n > 0 ? (uint64_t)n : 0;
}

static void cmd_rate(const struct probe *p, const struct words *w)
{
	uint32_t n_flows = (uint32_t)word_number(w, "flows", 1000);
	uint64_t span = (uint64_t)(word_number(w, "seconds", 1) * 1e9), sent = 0;

	rx_mute(p, true);
	for (uint64_t k = 0; k < n_flows; k += RATE_BURST) /* establish */
		send_burst(p, n_flows, k);
	uint64_t before = dev_received(p), start = opener_now_ns(), now = start;
	while ((now = opener_now_ns()) - start < span)
		sent += send_burst(p, n_flows, sent);
	uint64_t arrived = dev_received(p) - before;
	rx_mute(p, false);
	printf("{\"event\":\"rate\",\"sent\":%" PRIu64 ",\"arrived\":%" PRIu64 ",\"mpps\":%.4f}\n",
		sent, arrived, (double)arrived * 1e3 / (double)(now - start));
}

static int enter(const char *netns)
{
	char path[256];

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int ret = setns(fd, CLONE_NEWNET) ? -errno : 0;
	close(fd);
	return ret;
}

/* The socket of a namespace's device; proto 0 receives nothing. */
static int packet_socket(
	const char *netns, const char *dev, uint16_t proto, struct sockaddr_ll *out_addr)
{
	socklen_t len = sizeof(*out_addr);
	int ret = enter(netns);

	if (ret)
		return ret;
	*out_addr = (struct sockaddr_ll){ .sll_family = AF_PACKET,
		.sll_protocol = htons(proto),
		.sll_ifindex = (int)if_nametoindex(dev) };
	int s = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (s < 0 || bind(s, (struct sockaddr *)out_addr, sizeof(*out_addr)) ||
		getsockname(s, (struct sockaddr *)out_addr, &len))
		return -errno;
	return s;
}

static int tx_open(struct probe *p, const char *netns, const char *dev)
{
	struct sockaddr_ll addr;
	int one = 1;

	p->tx = packet_socket(netns, dev, 0, &addr);
	if (p->tx < 0)
		return p->tx;
	memcpy(p->opener.head.eth.ether_shost, addr.sll_addr, ETH_ALEN);
	return setsockopt(p->tx, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)) ? -errno : 0;
}

static int rx_open(struct probe *p, const char *netns, const char *dev)
{
	struct sockaddr_ll addr;
	int one = 1, size = RX_BUFFER_BYTES;

	p->rx = packet_socket(netns, dev, ETH_P_ALL, &addr);
	if (p->rx < 0)
		return p->rx;
	p->rx_dev = dev;
	p->dev_stats = open("/proc/thread-self/net/dev", O_RDONLY | O_CLOEXEC);
	if (p->dev_stats < 0 ||
		setsockopt(p->rx, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) ||
		setsockopt(p->rx, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
		setsockopt(p->rx, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)))
		return -errno;
	return 0;
}

static int probe_open(struct probe *p, char **argv)
{
	uint8_t *m = p->opener.head.eth.ether_dhost;
	struct in_addr source;
	int ret;

	p->opener.send = probe_send;
	p->opener.receive = probe_receive;
	p->opener.priv = p;
	opener_init(&p->opener);
	if (sscanf(argv[5], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", m, m + 1, m + 2, m + 3, m + 4,
		    m + 5) != 6 ||
		inet_pton(AF_INET, argv[6], &source) != 1)
		return -EINVAL;
	p->opener.head.ip.saddr = source.s_addr;
	ret = tx_open(p, argv[1], argv[2]);
	return ret ? ret : rx_open(p, argv[3], argv[4]);
}

static void command(struct probe *p, const struct words *w)
{
	if (!opener_command(&p->opener, w)) {
		if (strcmp(w->key[0], "rate"))
			answer_error("unknown command");
		else if (!opener_begin(&p->opener, w))
			answer_error("no addresses to send to");
		else
			cmd_rate(p, w);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct probe p;
	int ret = argc == 7 ? probe_open(&p, argv) : -EINVAL;

	if (ret) {
		answer_error(strerror(-ret));
		return 1;
	}
	printf("{\"event\":\"ready\"}\n");
	fflush(stdout);

	char *line = NULL;
	size_t size = 0;
	struct words w;

	while (getline(&line, &size, stdin) > 0) {
		words_split(line, &w);
		if (w.n && !strcmp(w.key[0], "quit"))
			break;
		if (w.n)
			command(&p, &w);
	}
	free(line);
	return 0;
}
