/* SPDX-License-Identifier: BSD-3-Clause */
/* What kernels and devices without UDP super-frames refuse is sent as packets: none lost, doubled or out of order. */
#include "tests/unit/packet_util.h"

#include <errno.h>
#include <sys/socket.h>

#include <linux/virtio_net.h>

#include "pmd/packet_send.h"
#include "pmd/vnet_hdr.h"

#define N 8
#define HEADERS_LEN 42u

static int superframe_errno; /* what the kernel says to one; 0: takes it */
static unsigned int n_until_full, n_superframes, n_sent;
static uint8_t sent_tags[64];
static struct port port;
static struct port_stats stats;

/* In place of the C library's: the kernel. */
int sendmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags)
{
	unsigned int i;

	(void)fd;
	(void)flags;
	for (i = 0; i < n; i++) {
		const struct iovec *iov = msgs[i].msg_hdr.msg_iov;
		const struct virtio_net_hdr *hdr = iov[0].iov_base;
		const uint8_t *frame = (const uint8_t *)iov[0].iov_base + sizeof(*hdr);
		bool is_super = hdr->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4;

		errno = is_super && superframe_errno != 0 ? superframe_errno : EAGAIN;
		if ((is_super && superframe_errno != 0) || n_until_full == 0)
			break;
		n_until_full--;
		n_superframes += is_super;
		sent_tags[n_sent++] = frame[HEADERS_LEN];
	}
	return i > 0 ? (int)i : -1;
}

/* N packets of one tunnel, told apart by their first byte of payload; the last is the shortest. */
static void burst(struct rte_mbuf *m[N])
{
	static uint8_t frames[N][600];

	for (unsigned int i = 0; i < N; i++) {
		struct util_packet k = { .proto = 17, .payload = i == N - 1 ? 100 : 500 };
		uint32_t len = util_packet_make(frames[i], &k);

		if (i > 0)
			memcpy(frames[i], frames[0], HEADERS_LEN);
		util_put16(frames[i] + 16, len - 14);
		util_put16(frames[i] + 20, 0x4000);
		util_put16(frames[i] + 38, len - 34);
		util_csums_fill(frames[i] + 14);
		util_put16(frames[i] + 40, 0);
		frames[i][HEADERS_LEN] = (uint8_t)i;
		m[i] = util_chain(frames[i], len, 2000, 2000);
	}
	n_sent = n_superframes = 0;
	n_until_full = 64;
	superframe_errno = 0;
	memset(&stats, 0, sizeof(stats));
	port.pool = util_pool;
}

static void all_sent(unsigned int n)
{
	assert_int_equal(n_sent, n);
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(sent_tags[i], i);
	for (unsigned int i = 0; i < DROP_N; i++)
		assert_int_equal(stats.drops[i], 0);
}

static void test_send_neighbours_are_one_superframe(void **state)
{
	struct packet_uso uso = { .ifname = "", .feature = -ENOENT, .is_on = true };
	struct rte_mbuf *m[N];

	(void)state;
	burst(m);
	assert_int_equal(packet_send(&port, &uso, -1, &stats, m, N), N);
	assert_int_equal(n_superframes, 1);
	all_sent(1);
}

static void test_send_refused_superframes_go_as_packets(void **state)
{
	const int errors[] = { EINVAL, ENOBUFS };

	(void)state;
	for (size_t i = 0; i < RTE_DIM(errors); i++) {
		struct packet_uso uso = { .ifname = "", .feature = -ENOENT, .is_on = true };
		struct rte_mbuf *m[N];

		burst(m);
		superframe_errno = errors[i];
		assert_int_equal(packet_send(&port, &uso, -1, &stats, m, N), N);
		all_sent(N);
		assert_false(uso.is_on);
	}
}

static void test_send_full_queue_leaves_the_packets_as_they_were(void **state)
{
	struct packet_uso uso = { .ifname = "", .feature = -ENOENT, .is_on = true };
	struct rte_mbuf *m[N];

	(void)state;
	burst(m);
	rte_pktmbuf_mtod(m[0], uint8_t *)[30] ^= 1; /* another peer: goes alone */
	n_until_full = 1;
	assert_int_equal(packet_send(&port, &uso, -1, &stats, m, N), 1);
	all_sent(1);
	for (unsigned int i = 1; i < N; i++) {
		assert_int_equal(m[i]->pkt_len, HEADERS_LEN + (i == N - 1 ? 100 : 500));
		assert_int_equal(rte_pktmbuf_mtod(m[i], uint8_t *)[HEADERS_LEN], i);
		assert_int_equal(m[i]->ol_flags & RTE_MBUF_F_TX_UDP_SEG, 0);
	}
	assert_true(uso.is_on);
	rte_pktmbuf_free_bulk(&m[1], N - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		UTIL_TEST(test_send_neighbours_are_one_superframe),
		UTIL_TEST(test_send_refused_superframes_go_as_packets),
		UTIL_TEST(test_send_full_queue_leaves_the_packets_as_they_were),
	};

	return cmocka_run_group_tests(tests, util_setup, util_teardown);
}
