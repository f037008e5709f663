/* SPDX-License-Identifier: BSD-3-Clause */
#include "datapath/pipeline/punt.h"

#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "datapath/base/race.h"
#include "datapath/base/rcu.h"

#define PUNT_RING_LEN 4096
#define INJECT_RING_LEN 1024

static_assert(
	sizeof(struct punt_msg) % 4 == 0 && sizeof(struct inject_msg) % 4 == 0, "ring elements");

/* is_asleep: its reader has seen all that it will see without being woken. Who takes it away wakes, whatever else is in the box. */
struct mailbox {
	struct rte_ring *ring;
	int fd;
	_Atomic bool is_asleep;
};

static struct mailbox punt_box = { .fd = -1 };
static struct mailbox inject_boxes[RCU_MAX_READERS];

static int mailbox_open(struct mailbox *box, const char *name, unsigned int elem_size,
	unsigned int len, unsigned int flags)
{
	box->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (box->fd < 0)
		return -errno;
	atomic_store_explicit(&box->is_asleep, true, memory_order_relaxed);
	box->ring = rte_ring_create_elem(name, elem_size, len, SOCKET_ID_ANY, flags);
	if (box->ring == NULL) {
		close(box->fd);
		box->fd = -1;
		return -ENOMEM;
	}
	return 0;
}

static void mailbox_close(struct mailbox *box)
{
	rte_ring_free(box->ring);
	if (box->ring != NULL)
		close(box->fd);
	*box = (struct mailbox){ .fd = -1 };
}

static void mailbox_wake(struct mailbox *box)
{
	uint64_t one = 1;

	if (write(box->fd, &one, sizeof(one)) < 0) {
		/* The counter is at its limit, so the descriptor is readable already. */
	}
}

/* The message first, then the look at the reader; it goes to sleep first and looks at the box then. One of both sees the other. */
static bool mailbox_put(struct mailbox *box, const void *msg, unsigned int size)
{
	if (box->ring == NULL ||
		rte_ring_enqueue_elem(box->ring, (void *)(uintptr_t)msg, size) != 0)
		return false;
	RACE_POINT(RACE_MAILBOX);
	/* pairs with the fence in mailbox_take() */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&box->is_asleep, memory_order_relaxed) &&
		atomic_exchange_explicit(&box->is_asleep, false, memory_order_relaxed))
		mailbox_wake(box);
	return true;
}

/* Clears the descriptor, before the ring is looked at: a message that comes now makes it readable again. */
static void mailbox_clear(struct mailbox *box)
{
	uint64_t n_wakes;

	if (read(box->fd, &n_wakes, sizeof(n_wakes)) < 0) {
		/* It was not readable. */
	}
	atomic_store_explicit(&box->is_asleep, true, memory_order_relaxed);
	/* pairs with the fence in mailbox_put() */
	atomic_thread_fence(memory_order_seq_cst);
}

static unsigned int mailbox_take(
	struct mailbox *box, void *msgs, unsigned int size, unsigned int max)
{
	unsigned int n;

	if (box->ring == NULL)
		return 0;
	mailbox_clear(box);
	n = rte_ring_dequeue_burst_elem(box->ring, msgs, size, max, NULL);
	if (rte_ring_empty(box->ring) == 0)
		mailbox_wake(box);
	return n;
}

int punt_init(void)
{
	int ret = mailbox_open(
		&punt_box, "leat_punt", sizeof(struct punt_msg), PUNT_RING_LEN, RING_F_SC_DEQ);

	for (unsigned int i = 0; ret == 0 && i < RCU_MAX_READERS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "leat_inject_%u", i);
		ret = mailbox_open(&inject_boxes[i], name, sizeof(struct inject_msg),
			INJECT_RING_LEN, RING_F_SC_DEQ);
	}
	if (ret < 0)
		punt_fini();
	return ret;
}

void punt_fini(void)
{
	struct punt_msg punted;
	struct inject_msg injected;

	while (punt_receive(&punted, 1) == 1)
		rte_pktmbuf_free(punted.m);
	mailbox_close(&punt_box);
	for (unsigned int i = 0; i < RCU_MAX_READERS; i++) {
		while (inject_receive(i, &injected, 1) == 1)
			rte_pktmbuf_free(injected.m);
		mailbox_close(&inject_boxes[i]);
	}
}

int punt_fd(void)
{
	return punt_box.fd;
}

bool punt_send(const struct punt_msg *msg)
{
	return mailbox_put(&punt_box, msg, sizeof(*msg));
}

unsigned int punt_receive(struct punt_msg *msgs, unsigned int max)
{
	return mailbox_take(&punt_box, msgs, sizeof(*msgs), max);
}

bool inject_send(unsigned int worker, const struct inject_msg *msg)
{
	return mailbox_put(&inject_boxes[worker], msg, sizeof(*msg));
}

unsigned int inject_receive(unsigned int worker, struct inject_msg *msgs, unsigned int max)
{
	struct mailbox *box = &inject_boxes[worker];

	if (box->ring == NULL || rte_ring_empty(box->ring) == 1)
		return 0;
	return mailbox_take(box, msgs, sizeof(*msgs), max);
}

void inject_woken(unsigned int worker)
{
	mailbox_clear(&inject_boxes[worker]);
}

int inject_fd(unsigned int worker)
{
	return inject_boxes[worker].fd;
}
