/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf/gen/opener.h"

#include <arpa/inet.h>
#include <inttypes.h>

#define MAGIC 0x6c656174u
#define EST_FLOWS 64u
#define EST_SPORT 1024u
#define EST_BURST                                                                                  \
	64u /* packets of established flows that one slow new connection may have held up */
#define SETTLE_NS 50000000ull

void opener_init(struct opener *o)
{
	o->head.eth.ether_type = htons(ETHERTYPE_IP);
	o->head.ip.version = 4;
	o->head.ip.ihl = 5;
	o->head.ip.ttl = 64;
	o->head.ip.protocol = IPPROTO_UDP;
	o->head.ip.tot_len = htons(OPENER_FRAME_LEN - 14);
	o->head.udp.len = htons(OPENER_FRAME_LEN - 34);
	o->head.mark.magic = MAGIC;
	o->sport = OPENER_SPORT_MIN;
}

static uint16_t ip_csum(const void *header)
{
	const uint8_t *b = header;
	uint32_t sum = 0;

	for (unsigned int i = 0; i < sizeof(struct iphdr); i += 2)
		sum += (uint32_t)b[i] << 8 | b[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t) ~((sum & 0xffff) + (sum >> 16)));
}

struct opener_frame opener_frame_to(const struct opener *o, uint32_t vip, uint16_t sport)
{
	struct opener_frame f = o->head;

	f.ip.daddr = vip;
	f.ip.check = ip_csum(&f.ip);
	f.udp.source = htons(sport);
	f.udp.dest = htons(o->port);
	return f;
}

static bool send_one(struct opener *o, uint32_t vip, uint16_t sport, enum opener_kind kind,
	unsigned int target, uint64_t due_ns)
{
	struct opener_frame f = opener_frame_to(o, vip, sport);

	f.mark.run = o->run;
	f.mark.kind = (uint8_t)kind;
	f.mark.target = (uint8_t)target;
	f.mark.due_ns = due_ns;
	return o->send(o, &f);
}

static void send_new(struct opener *o, unsigned int target, uint64_t due_ns)
{
	o->sport = o->sport == UINT16_MAX ? OPENER_SPORT_MIN : (uint16_t)(o->sport + 1);
	o->sent[target] += send_one(o, o->vip[target], o->sport, OPENER_NEW, target, due_ns);
}

/* Packets of established flows that are due; one slow new connection may have held up a few. */
static void send_established(struct opener *o)
{
	for (unsigned int k = 0; k < EST_BURST && opener_now_ns() >= o->est_due_ns; k++) {
		uint16_t sport = (uint16_t)(EST_SPORT + o->est_sent % EST_FLOWS);
		o->est_sent += send_one(o, o->est_vip, sport, OPENER_ESTABLISHED, 0, o->est_due_ns);
		o->est_due_ns += o->est_step_ns;
	}
}

void opener_arrived(struct opener *o, const void *frame, size_t size, uint64_t at_ns)
{
	struct opener_frame f;

	if (size < sizeof(f))
		return;
	memcpy(&f, frame, sizeof(f));
	if (f.mark.magic != MAGIC || f.mark.run != o->run || f.mark.target >= OPENER_TARGETS_MAX)
		return;
	if (f.mark.kind == OPENER_ESTABLISHED) {
		o->est_arrived++;
		return;
	}
	hist_add(&o->hist[f.mark.target], at_ns > f.mark.due_ns ? at_ns - f.mark.due_ns : 0);
	if (!o->reached_ns && ntohs(f.udp.dest) == o->until)
		o->reached_ns = at_ns;
}

static void settle(struct opener *o)
{
	for (uint64_t end = opener_now_ns() + SETTLE_NS; opener_now_ns() < end;)
		if (o->receive(o))
			end = opener_now_ns() + SETTLE_NS;
}

bool opener_begin(struct opener *o, const struct words *w)
{
	char list[512], *save = NULL;
	const char *v = word(w, "vips");

	snprintf(list, sizeof(list), "%s", v ? v : "");
	o->n_vips = 0;
	for (char *t = strtok_r(list, ",", &save); t && o->n_vips < OPENER_TARGETS_MAX;
		t = strtok_r(NULL, ",", &save))
		if (inet_pton(AF_INET, t, &o->vip[o->n_vips++]) != 1)
			return false;
	o->port = (uint16_t)word_number(w, "port", 80);
	o->until = (uint16_t)word_number(w, "until", 0);
	o->run++;
	v = word(w, "est_vip");
	if (v && inet_pton(AF_INET, v, &o->est_vip) != 1)
		return false;
	o->est_step_ns = (uint64_t)(1e9 / word_number(w, "est_pps", 1000));
	o->est_due_ns = v ? opener_now_ns() : UINT64_MAX;
	o->reached_ns = o->est_sent = o->est_arrived = 0;
	memset(o->hist, 0, sizeof(o->hist));
	memset(o->sent, 0, sizeof(o->sent));
	return o->n_vips > 0;
}

static void cmd_first(struct opener *o, const struct words *w)
{
	uint64_t n = (uint64_t)word_number(w, "n", 1000) * o->n_vips;
	uint64_t step = (uint64_t)(1e9 / word_number(w, "pps", 1000));
	uint64_t start = opener_now_ns() + 1000000;

	for (uint64_t k = 0; k < n; k++) {
		while (opener_now_ns() < start + k * step) {
			send_established(o);
			o->receive(o);
		}
		send_new(o, (unsigned int)(k % o->n_vips), start + k * step);
	}
	settle(o);
	printf("{\"event\":\"first\",\"targets\":[");
	for (unsigned int i = 0; i < o->n_vips; i++)
		printf("%s{\"sent\":%" PRIu64 ",\"arrived\":%" PRIu64 ",\"p50_ns\":%" PRIu64
		       ",\"p99_ns\":%" PRIu64 ",\"max_ns\":%" PRIu64 "}",
			i ? "," : "", o->sent[i], o->hist[i].n, hist_quantile(&o->hist[i], 0.5),
			hist_quantile(&o->hist[i], 0.99), o->hist[i].max);
	printf("],\"est_sent\":%" PRIu64 ",\"est_arrived\":%" PRIu64 "}\n", o->est_sent,
		o->est_arrived);
}

static void cmd_watch(struct opener *o, const struct words *w)
{
	uint64_t step = (uint64_t)(1e9 / word_number(w, "pps", 1000));
	printf("{\"event\":\"watching\"}\n");
	fflush(stdout);
	uint64_t start = opener_now_ns(), due = start;
	uint64_t end = start + (uint64_t)(word_number(w, "seconds", 60) * 1e9);

	while (!o->reached_ns && opener_now_ns() < end) {
		if (opener_now_ns() >= due) {
			send_new(o, 0, due);
			due += step;
		}
		send_established(o);
		while (o->receive(o))
			;
	}
	settle(o);
	printf("{\"event\":\"watched\",\"at_ns\":%" PRIu64 ",\"sent\":%" PRIu64
	       ",\"arrived\":%" PRIu64 ",\"est_sent\":%" PRIu64 ",\"est_arrived\":%" PRIu64 "}\n",
		o->reached_ns, o->sent[0], o->hist[0].n, o->est_sent, o->est_arrived);
}

bool opener_command(struct opener *o, const struct words *w)
{
	bool is_first = !strcmp(w->key[0], "first"), is_watch = !strcmp(w->key[0], "watch");

	if (!is_first && !is_watch)
		return false;
	if (!opener_begin(o, w))
		answer_error("no addresses to send to");
	else if (is_first)
		cmd_first(o, w);
	else
		cmd_watch(o, w);
	return true;
}
