/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opens connections at scheduled times and sees when their first packets come out at the other end: what leat-gen (virtio-user) and
 * leat-probe (AF_PACKET) have in common, so that a switch and the kernel are measured by the same code. UDP, 64 bytes. Commands:
 *
 *   first vips=IP,… port=P n=N pps=R           N new connections to each address, in turn: latency of their first packets
 *   watch vips=IP port=P until=P2 pps=R seconds=S   new connections until one arrives at port P2
 *
 * Both with est_vip=IP est_pps=R2: packets of 64 established flows meanwhile.
 *
 * Latency is from the scheduled time of sending, so a late sender is charged. Times are CLOCK_REALTIME: the kernel's packet time stamps
 * and perf/run know it too. Single thread.
 */
#ifndef LEAT_PERF_OPENER_H
#define LEAT_PERF_OPENER_H

#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "perf/gen/hist.h"
#include "perf/gen/words.h"

#define OPENER_FRAME_LEN 64
#define OPENER_TARGETS_MAX 16
#define OPENER_SPORT_MIN 2048u /* of new connections; established flows use ports below */

enum opener_kind { OPENER_NEW, OPENER_ESTABLISHED };

/* Written and read by the same process. */
struct opener_mark {
	uint32_t magic;
	uint16_t run; /* of the command: what an earlier one left in a queue does not count */
	uint8_t kind; /* enum opener_kind */
	uint8_t target;
	uint64_t due_ns; /* scheduled send time */
} __attribute__((packed));

struct opener_frame {
	struct ether_header eth;
	struct iphdr ip;
	struct udphdr udp;
	struct opener_mark mark;
	uint8_t pad[OPENER_FRAME_LEN - 42 - sizeof(struct opener_mark)];
} __attribute__((packed));

_Static_assert(sizeof(struct opener_frame) == OPENER_FRAME_LEN, "a frame without FCS");

struct opener {
	/* the port: whether the frame was taken; calls opener_arrived() for what came, and says whether something did */
	bool (*send)(struct opener *o, const struct opener_frame *frame);
	bool (*receive)(struct opener *o);
	void *priv;
	struct opener_frame head; /* Ethernet addresses and IP source are the port's */

	/* of the command */
	uint32_t vip[OPENER_TARGETS_MAX]; /* network order */
	unsigned int n_vips;
	uint16_t port, until; /* host order; until: the port that ends a watch */
	uint16_t run, sport;
	uint64_t sent[OPENER_TARGETS_MAX];
	/* established flows beside */
	uint32_t est_vip;
	uint64_t est_step_ns, est_due_ns, est_sent, est_arrived;
	uint64_t reached_ns; /* when a new connection came to `until` */
	struct hist hist[OPENER_TARGETS_MAX];
};

static inline uint64_t opener_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Everything of the head that the port does not know. */
void opener_init(struct opener *o);
/* A frame to an address (network order) from a port (host order), its checksum right. */
struct opener_frame opener_frame_to(const struct opener *o, uint32_t vip, uint16_t sport);
/* A frame of any kind that was received; size: what is there of it. */
void opener_arrived(struct opener *o, const void *frame, size_t size, uint64_t at_ns);
/* Takes the command's addresses and ports and forgets the one before; false: there are none. */
bool opener_begin(struct opener *o, const struct words *w);
/* Runs first or watch and answers; false: another command. */
bool opener_command(struct opener *o, const struct words *w);

#endif
