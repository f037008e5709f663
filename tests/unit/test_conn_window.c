/* SPDX-License-Identifier: BSD-3-Clause */
/* Strict TCP tracking: segments one after the other, the verdict on each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <string.h>

#include "datapath/table/conn_window.h"

#define S CONN_TCP_SYN
#define A CONN_TCP_ACK
#define F CONN_TCP_FIN
#define R CONN_TCP_RST

#define C0 1000u       /* the client's first number */
#define S0 4294967000u /* the server's: wraps early */

static struct conn conn;
static struct conn_window window;

static int setup(void **state)
{
	(void)state;
	memset(&conn, 0, sizeof(conn));
	memset(&window, 0, sizeof(window));
	conn.proto = IPPROTO_TCP;
	conn.state = CONN_SYN_SENT;
	return 0;
}

static enum conn_window_verdict send_segment(enum conn_dir dir, struct conn_segment s)
{
	enum conn_window_verdict verdict = conn_window_check(
		&window, (enum conn_state)conn.state, dir, &s);

	if (verdict == CONN_WINDOW_OK)
		conn_track(&conn, dir, s.flags);
	return verdict;
}

static void expect(enum conn_dir dir, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len,
	enum conn_window_verdict want)
{
	enum conn_window_verdict got = send_segment(dir,
		(struct conn_segment){
			.seq = seq, .ack = ack, .len = len, .win = 1000, .flags = flags });

	if (got != want)
		fail_msg("dir %d flags %#x seq %u ack %u len %u: verdict %d, wanted %d", dir, flags,
			seq, ack, len, got, want);
}

static struct conn_segment offer(int scale)
{
	return (struct conn_segment){
		.win = 1000, .has_scale = scale >= 0, .scale = (uint8_t)(scale >= 0 ? scale : 0)
	};
}

/* SYN and SYN+ACK with these windows and scales. */
static void handshake(struct conn_segment syn, struct conn_segment syn_ack)
{
	syn.seq = C0;
	syn.flags = S;
	syn_ack.seq = S0;
	syn_ack.ack = C0 + 1;
	syn_ack.flags = S | A;
	assert_int_equal(send_segment(CONN_ORIG, syn), CONN_WINDOW_OK);
	assert_int_equal(send_segment(CONN_REPLY, syn_ack), CONN_WINDOW_OK);
}

/* Opens; both windows are 1000 << scale behind the handshake. scale −1: none offered. */
static void open_conn(int client_scale, int server_scale)
{
	handshake(offer(client_scale), offer(server_scale));
	expect(CONN_ORIG, A, C0 + 1, S0 + 1, 0, CONN_WINDOW_OK);
	expect(CONN_REPLY, A, S0 + 1, C0 + 1, 0, CONN_WINDOW_OK);
	assert_int_equal(conn.state, CONN_ESTABLISHED);
}

static void test_conn_window_data_up_to_the_edge_passes(void **state)
{
	(void)state;
	open_conn(-1, -1);
	expect(CONN_ORIG, A, C0 + 1, S0 + 1, 1000, CONN_WINDOW_OK);
	expect(CONN_ORIG, A, C0 + 1002, S0 + 1, 1, CONN_WINDOW_OUT);
	expect(CONN_REPLY, A, S0 + 1, C0 + 1001, 0, CONN_WINDOW_OK);
	expect(CONN_ORIG, A, C0 + 1001, S0 + 1, 1000, CONN_WINDOW_OK);
	/* retransmissions: a window back, no more */
	expect(CONN_ORIG, A, C0 + 1001, S0 + 1, 10, CONN_WINDOW_OK);
	expect(CONN_ORIG, A, C0 + 1, S0 + 1, 900, CONN_WINDOW_OUT);
}

static void test_conn_window_sequence_numbers_wrap(void **state)
{
	uint32_t seq = S0 + 1;

	(void)state;
	open_conn(-1, -1);
	for (unsigned int i = 0; i < 20; i++, seq += 500) {
		expect(CONN_REPLY, A, seq, C0 + 1, 500, CONN_WINDOW_OK);
		expect(CONN_ORIG, A, C0 + 1, seq + 500, 0, CONN_WINDOW_OK);
	}
}

static void test_conn_window_scale_counts_only_if_both_offer_it(void **state)
{
	(void)state;
	open_conn(4, 7);
	expect(CONN_ORIG, A, C0 + 1 + 127000, S0 + 1, 1000, CONN_WINDOW_OK);
	expect(CONN_REPLY, A, S0 + 1 + 16001, C0 + 1, 1, CONN_WINDOW_OUT);
	expect(CONN_REPLY, A, S0 + 1 + 15000, C0 + 1, 1000, CONN_WINDOW_OK);
	setup(NULL);
	open_conn(4, -1);
	expect(CONN_ORIG, A, C0 + 1 + 1001, S0 + 1, 1, CONN_WINDOW_OUT);
	expect(CONN_REPLY, A, S0 + 1 + 1001, C0 + 1, 1, CONN_WINDOW_OUT);
}

/* A SYN's window of data is out, and its first bytes are sent again. */
static void test_conn_window_declined_scale_does_not_shrink_the_syns_window(void **state)
{
	struct conn_segment ack = { .seq = C0 + 1, .ack = S0 + 1, .win = 1, .flags = A };

	(void)state;
	handshake(offer(-1), offer(7));
	expect(CONN_ORIG, A, C0 + 1, S0 + 1, 1000, CONN_WINDOW_OK);
	expect(CONN_ORIG, A, C0 + 1, S0 + 1, 100, CONN_WINDOW_OK);
	setup(NULL);
	handshake(offer(7), offer(-1));
	expect(CONN_REPLY, A, S0 + 1, C0 + 1, 1000, CONN_WINDOW_OK);
	assert_int_equal(send_segment(CONN_ORIG, ack), CONN_WINDOW_OK);
	expect(CONN_REPLY, A, S0 + 1, C0 + 1, 100, CONN_WINDOW_OK);
}

static void test_conn_window_closed_window_is_probed_with_one_byte(void **state)
{
	(void)state;
	open_conn(-1, -1);
	expect(CONN_ORIG, A, C0 + 1, S0 + 1, 1000, CONN_WINDOW_OK);
	assert_int_equal(send_segment(CONN_REPLY,
				 (struct conn_segment){
					 .seq = S0 + 1, .ack = C0 + 1001, .win = 0, .flags = A }),
		CONN_WINDOW_OK);
	expect(CONN_ORIG, A, C0 + 1001, S0 + 1, 1, CONN_WINDOW_OK);
	expect(CONN_ORIG, A, C0 + 1000, S0 + 1, 0, CONN_WINDOW_OK); /* keep-alive */
}

static void test_conn_window_acknowledgement_of_what_was_not_sent_is_out(void **state)
{
	(void)state;
	open_conn(-1, -1);
	expect(CONN_ORIG, A, C0 + 1, S0 + 1, 100, CONN_WINDOW_OK);
	expect(CONN_REPLY, A, S0 + 1, C0 + 102, 0, CONN_WINDOW_OUT);
	expect(CONN_REPLY, A, S0 + 1, C0 + 101, 0, CONN_WINDOW_OK);
	expect(CONN_REPLY, A, S0 + 1, C0 + 101 - 70000, 0, CONN_WINDOW_OUT);
}

static void test_conn_window_super_frame_counts_its_whole_payload(void **state)
{
	(void)state;
	open_conn(7, 7);
	expect(CONN_ORIG, A, C0 + 1, S0 + 1, 60000, CONN_WINDOW_OK);
	expect(CONN_REPLY, A, S0 + 1, C0 + 60001, 0, CONN_WINDOW_OK);
}

static void test_conn_window_reset_counts_only_at_the_expected_number(void **state)
{
	(void)state;
	open_conn(-1, -1);
	expect(CONN_ORIG, A, C0 + 1, S0 + 1, 500, CONN_WINDOW_OK);
	expect(CONN_ORIG, R, C0 + 300, 0, 0, CONN_WINDOW_RST);
	expect(CONN_ORIG, R, C0, 0, 0, CONN_WINDOW_OUT);
	expect(CONN_ORIG, R, C0 + 1002, 0, 0, CONN_WINDOW_OUT);
	expect(CONN_REPLY, R, S0 + 2, 0, 0, CONN_WINDOW_RST);
	assert_int_equal(conn.state, CONN_ESTABLISHED);
	expect(CONN_ORIG, R, C0 + 501, 0, 0, CONN_WINDOW_OK); /* with the data before it */
	conn.state = CONN_ESTABLISHED;
	expect(CONN_ORIG, R, C0 + 1, 0, 0, CONN_WINDOW_OK); /* the data was lost */
	conn.state = CONN_ESTABLISHED;
	expect(CONN_REPLY, R, S0 + 1, 0, 0, CONN_WINDOW_OK);
	assert_int_equal(conn.state, CONN_CLOSED);
}

static void test_conn_window_refusal_must_acknowledge_the_syn(void **state)
{
	(void)state;
	expect(CONN_ORIG, S, C0, 0, 0, CONN_WINDOW_OK);
	expect(CONN_REPLY, R | A, 0, C0, 0, CONN_WINDOW_RST);
	expect(CONN_REPLY, R, 0, 0, 0, CONN_WINDOW_RST);
	expect(CONN_ORIG, R, C0 + 7, 0, 0, CONN_WINDOW_OUT);
	assert_int_equal(conn.state, CONN_SYN_SENT);
	expect(CONN_REPLY, R | A, 0, C0 + 1, 0, CONN_WINDOW_OK);
	assert_int_equal(conn.state, CONN_CLOSED);
}

static void test_conn_window_syn_ack_must_acknowledge_the_syn(void **state)
{
	(void)state;
	expect(CONN_ORIG, S, C0, 0, 0, CONN_WINDOW_OK);
	expect(CONN_REPLY, S | A, S0, C0 + 2, 0, CONN_WINDOW_OUT);
	expect(CONN_REPLY, S | A, S0, C0 + 1, 0, CONN_WINDOW_OK);
	expect(CONN_REPLY, S | A, S0, C0 + 1, 0, CONN_WINDOW_OK);
	expect(CONN_REPLY, S | A, S0 + 9, C0 + 1, 0, CONN_WINDOW_UNTRACKED);
}

static void test_conn_window_syn_on_an_open_connection_is_the_endpoints_business(void **state)
{
	struct conn_window before;

	(void)state;
	open_conn(-1, -1);
	before = window;
	expect(CONN_ORIG, S, C0 + 50, 0, 0, CONN_WINDOW_UNTRACKED);
	expect(CONN_REPLY, S | A, S0 + 50, C0 + 1, 0, CONN_WINDOW_UNTRACKED);
	expect(CONN_ORIG, F | A, C0 + 1, S0 + 1, 0, CONN_WINDOW_OK);
	before.half[CONN_ORIG].end = window.half[CONN_ORIG].end;
	expect(CONN_REPLY, S, 5, 0, 0, CONN_WINDOW_UNTRACKED);
	assert_memory_equal(&window, &before, sizeof(window));
	assert_int_equal(conn.state, CONN_FIN_WAIT);
}

static void test_conn_window_tuple_used_again_is_anothers(void **state)
{
	(void)state;
	open_conn(7, 7);
	expect(CONN_ORIG, F | A, C0 + 1, S0 + 1, 0, CONN_WINDOW_OK);
	expect(CONN_REPLY, F | A, S0 + 1, C0 + 2, 0, CONN_WINDOW_OK);
	expect(CONN_ORIG, A, C0 + 2, S0 + 2, 0, CONN_WINDOW_OK);
	assert_int_equal(conn.state, CONN_TIME_WAIT);
	expect(CONN_ORIG, S, 77, 0, 0, CONN_WINDOW_UNTRACKED);
	expect(CONN_REPLY, S, 99, 0, 0, CONN_WINDOW_UNTRACKED);
	assert_int_equal(conn.state, CONN_TIME_WAIT);
	expect(CONN_ORIG, A, C0 + 2, S0 + 2, 0, CONN_WINDOW_OK);
}

static void test_conn_window_simultaneous_open(void **state)
{
	(void)state;
	expect(CONN_ORIG, S, C0, 0, 0, CONN_WINDOW_OK);
	expect(CONN_REPLY, S, S0, 0, 0, CONN_WINDOW_OK);
	expect(CONN_ORIG, S | A, C0, S0 + 1, 0, CONN_WINDOW_OK);
	expect(CONN_REPLY, S | A, S0, C0 + 1, 0, CONN_WINDOW_OK);
	expect(CONN_ORIG, A, C0 + 1, S0 + 1, 500, CONN_WINDOW_OK);
	assert_int_equal(conn.state, CONN_ESTABLISHED);
	expect(CONN_REPLY, A, S0 + 1 + 2000, C0 + 501, 1, CONN_WINDOW_OUT);
}

static void test_conn_window_unseen_handshake_passes_everything(void **state)
{
	(void)state;
	conn.state = CONN_ESTABLISHED;
	expect(CONN_ORIG, A, 1, 1, 60000, CONN_WINDOW_OK);
	expect(CONN_REPLY, A, 1u << 31, 7, 0, CONN_WINDOW_OK);
	expect(CONN_ORIG, R, 12345, 0, 0, CONN_WINDOW_OK);
	assert_false(conn_window_is_known(&window));
}

static void parse(const uint8_t *options, unsigned int n, uint32_t avail, struct conn_segment *out)
{
	uint8_t tcp[60] = { [4] = 0, 0, 1, 2, 0, 0, 3, 4, [13] = S, [14] = 0x12, 0x34 };

	tcp[12] = (uint8_t)((20 + n) / 4 << 4);
	memcpy(tcp + 20, options, n);
	conn_segment_parse(tcp, avail, 20 + n + 100, out);
}

static void test_conn_segment_is_parsed_with_hostile_options(void **state)
{
	static const uint8_t good[] = { 2, 4, 5, 180, 1, 3, 3, 9 }, big[] = { 3, 3, 200, 0 },
			     behind_end[] = { 0, 3, 3, 9 }, endless[] = { 2, 0, 3, 3 },
			     beyond[] = { 1, 1, 3, 40 }, wrong_len[] = { 3, 4, 9, 0 };
	struct conn_segment s;

	(void)state;
	parse(good, sizeof(good), 128, &s);
	assert_true(s.seq == 0x102 && s.ack == 0x304 && s.win == 0x1234 && s.len == 100);
	assert_true(s.has_scale && s.scale == 9 && !s.has_no_options);
	parse(big, sizeof(big), 128, &s);
	assert_true(s.has_scale && s.scale == 14);
	parse(good, sizeof(good), 24, &s);
	assert_true(s.has_no_options && !s.has_scale);
	parse(behind_end, sizeof(behind_end), 128, &s);
	assert_false(s.has_scale);
	parse(endless, sizeof(endless), 128, &s);
	assert_false(s.has_scale);
	parse(beyond, sizeof(beyond), 128, &s);
	assert_false(s.has_scale);
	parse(wrong_len, sizeof(wrong_len), 128, &s);
	assert_false(s.has_scale);
}

#define TEST(name) cmocka_unit_test_setup(test_conn_##name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(window_data_up_to_the_edge_passes),
		TEST(window_sequence_numbers_wrap),
		TEST(window_scale_counts_only_if_both_offer_it),
		TEST(window_declined_scale_does_not_shrink_the_syns_window),
		TEST(window_closed_window_is_probed_with_one_byte),
		TEST(window_acknowledgement_of_what_was_not_sent_is_out),
		TEST(window_super_frame_counts_its_whole_payload),
		TEST(window_reset_counts_only_at_the_expected_number),
		TEST(window_refusal_must_acknowledge_the_syn),
		TEST(window_syn_ack_must_acknowledge_the_syn),
		TEST(window_syn_on_an_open_connection_is_the_endpoints_business),
		TEST(window_tuple_used_again_is_anothers),
		TEST(window_simultaneous_open),
		TEST(window_unseen_handshake_passes_everything),
		TEST(segment_is_parsed_with_hostile_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
