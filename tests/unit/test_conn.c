/* SPDX-License-Identifier: BSD-3-Clause */
/* Connection states as tables: a sequence of (direction, flags) and the state after each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>

#include "datapath/table/conn.h"

#define S CONN_TCP_SYN
#define A CONN_TCP_ACK
#define F CONN_TCP_FIN
#define R CONN_TCP_RST

struct step {
	enum conn_dir dir;
	uint8_t flags;
	enum conn_state state;
	bool needs_more;
};

static void walk(uint8_t proto, const struct step *steps, unsigned int n)
{
	struct conn c = { .proto = proto };

	atomic_store(&c.state, (uint8_t)conn_first_state(proto, steps[0].flags));
	for (unsigned int i = 0; i < n; i++) {
		bool needs_more = conn_track(&c, steps[i].dir, steps[i].flags);

		if (atomic_load(&c.state) != steps[i].state || needs_more != steps[i].needs_more)
			fail_msg("step %u: state %s, wanted %s; more %d, wanted %d", i,
				conn_state_name((enum conn_state)atomic_load(&c.state)),
				conn_state_name(steps[i].state), needs_more, steps[i].needs_more);
	}
}
#define WALK(proto, ...)                                                                           \
	do {                                                                                       \
		static const struct step steps_[] = { __VA_ARGS__ };                               \
		walk(proto, steps_, sizeof(steps_) / sizeof(steps_[0]));                           \
	} while (0)

static void test_conn_tcp_handshake_and_close(void **state)
{
	(void)state;
	WALK(IPPROTO_TCP, { CONN_ORIG, S, CONN_SYN_SENT, true },
		{ CONN_REPLY, S | A, CONN_SYN_RECV, true },
		{ CONN_ORIG, A, CONN_ESTABLISHED, false },
		{ CONN_REPLY, A, CONN_ESTABLISHED, false },
		{ CONN_ORIG, F | A, CONN_FIN_WAIT, false }, { CONN_REPLY, A, CONN_FIN_WAIT, false },
		{ CONN_REPLY, F | A, CONN_TIME_WAIT, false },
		{ CONN_ORIG, A, CONN_TIME_WAIT, false });
}

static void test_conn_tcp_reset_closes_and_no_syn_opens_again(void **state)
{
	(void)state;
	WALK(IPPROTO_TCP, { CONN_ORIG, S, CONN_SYN_SENT, true },
		{ CONN_REPLY, R | A, CONN_CLOSED, true }, { CONN_ORIG, S, CONN_CLOSED, true },
		{ CONN_REPLY, S, CONN_CLOSED, true }, { CONN_REPLY, S | A, CONN_CLOSED, true });
}

static void test_conn_tcp_mid_stream_is_picked_up(void **state)
{
	(void)state;
	WALK(IPPROTO_TCP, { CONN_ORIG, A, CONN_ESTABLISHED, false },
		{ CONN_REPLY, A, CONN_ESTABLISHED, false }, { CONN_REPLY, R, CONN_CLOSED, true });
}

static void test_conn_tcp_one_sided_fins_do_not_close_both_sides(void **state)
{
	(void)state;
	WALK(IPPROTO_TCP, { CONN_ORIG, A, CONN_ESTABLISHED, false },
		{ CONN_ORIG, F | A, CONN_FIN_WAIT, false },
		{ CONN_ORIG, F | A, CONN_FIN_WAIT, false },
		{ CONN_REPLY, A, CONN_FIN_WAIT, false });
}

/* Every state, direction and kind of segment; opened by the original direction, FIN_WAIT by its FIN. */
static void test_conn_tcp_every_state_by_direction_and_flags(void **state)
{
	enum {
		SS = CONN_SYN_SENT,
		SR = CONN_SYN_RECV,
		ES = CONN_ESTABLISHED,
		FW = CONN_FIN_WAIT,
		TW = CONN_TIME_WAIT,
		CL = CONN_CLOSED
	};
	static const uint8_t segments[] = { S, S | A, A, F | A, R, R | A };
	static const struct {
		uint8_t from, fins;
		uint8_t to[CONN_DIR_N][sizeof(segments)];
	} rows[] = {
		{ SS, 0, { { SS, SS, SS, SS, CL, CL }, { SR, SR, SS, SS, CL, CL } } },
		{ SR, 0, { { SR, SR, ES, FW, CL, CL }, { SR, SR, ES, FW, CL, CL } } },
		{ ES, 0, { { ES, ES, ES, FW, CL, CL }, { ES, ES, ES, FW, CL, CL } } },
		{ FW, CONN_F_FIN_ORIG, { { FW, FW, FW, FW, CL, CL }, { FW, FW, FW, TW, CL, CL } } },
		{ TW, CONN_F_FINS, { { TW, TW, TW, TW, CL, CL }, { TW, TW, TW, TW, CL, CL } } },
		/* who has sent a RST does not take it back */
		{ CL, CONN_F_RST_REPLY,
			{ { CL, CL, ES, FW, CL, CL }, { CL, CL, CL, CL, CL, CL } } },
		{ CL, CONN_F_RST_ORIG, { { CL, CL, CL, CL, CL, CL }, { CL, CL, ES, FW, CL, CL } } },
		{ CL, CONN_F_RSTS, { { CL, CL, CL, CL, CL, CL }, { CL, CL, CL, CL, CL, CL } } },
		{ CL, CONN_F_RST_REPLY | CONN_F_FIN_ORIG,
			{ { CL, CL, FW, FW, CL, CL }, { CL, CL, CL, CL, CL, CL } } },
		{ CL, CONN_F_RST_ORIG | CONN_F_FIN_ORIG,
			{ { CL, CL, CL, CL, CL, CL }, { CL, CL, FW, TW, CL, CL } } },
		{ CL, CONN_F_RST_REPLY | CONN_F_FINS,
			{ { CL, CL, TW, TW, CL, CL }, { CL, CL, CL, CL, CL, CL } } },
	};

	(void)state;
	for (unsigned int r = 0; r < sizeof(rows) / sizeof(rows[0]); r++)
		for (unsigned int d = 0; d < CONN_DIR_N; d++)
			for (unsigned int i = 0; i < sizeof(segments); i++) {
				struct conn c = { .proto = IPPROTO_TCP };
				enum conn_state want = (enum conn_state)rows[r].to[d][i], got;

				atomic_store(&c.state, rows[r].from);
				atomic_store(&c.flags, rows[r].fins);
				assert_int_equal(conn_track(&c, (enum conn_dir)d, segments[i]),
					conn_is_tracked(want));
				got = (enum conn_state)atomic_load(&c.state);
				if (got != want)
					fail_msg("row %u dir %u flags %#x: %s, wanted %s", r, d,
						segments[i], conn_state_name(got),
						conn_state_name(want));
			}
}

static void test_conn_tcp_blind_reset_is_undone_by_the_next_segment(void **state)
{
	(void)state;
	WALK(IPPROTO_TCP, { CONN_ORIG, A, CONN_ESTABLISHED, false },
		{ CONN_REPLY, R, CONN_CLOSED, true }, { CONN_REPLY, A, CONN_CLOSED, true },
		{ CONN_ORIG, A, CONN_ESTABLISHED, false },
		{ CONN_ORIG, F | A, CONN_FIN_WAIT, false }, { CONN_ORIG, R, CONN_CLOSED, true },
		{ CONN_REPLY, A, CONN_FIN_WAIT, false });
}

static void test_conn_tcp_simultaneous_open(void **state)
{
	(void)state;
	WALK(IPPROTO_TCP, { CONN_ORIG, S, CONN_SYN_SENT, true },
		{ CONN_REPLY, S, CONN_SYN_RECV, true }, { CONN_ORIG, S | A, CONN_SYN_RECV, true },
		{ CONN_REPLY, S | A, CONN_SYN_RECV, true },
		{ CONN_REPLY, A, CONN_ESTABLISHED, false });
}

static void test_conn_tcp_opener_alone_stays_half_open(void **state)
{
	(void)state;
	WALK(IPPROTO_TCP, { CONN_ORIG, S, CONN_SYN_SENT, true },
		{ CONN_ORIG, A, CONN_SYN_SENT, true }, { CONN_ORIG, S | A, CONN_SYN_SENT, true },
		{ CONN_ORIG, F | A, CONN_SYN_SENT, true },
		{ CONN_REPLY, S | A, CONN_SYN_RECV, true },
		{ CONN_ORIG, A, CONN_ESTABLISHED, false });
}

static void test_conn_sctp_has_the_states_of_tcp(void **state)
{
	(void)state;
	WALK(IPPROTO_SCTP, { CONN_ORIG, S, CONN_SYN_SENT, true },
		{ CONN_REPLY, S | A, CONN_SYN_RECV, true },
		{ CONN_ORIG, A, CONN_ESTABLISHED, false },
		{ CONN_ORIG, F | A, CONN_FIN_WAIT, false },
		{ CONN_REPLY, F | A, CONN_TIME_WAIT, false }, { CONN_ORIG, R, CONN_CLOSED, true },
		{ CONN_REPLY, S, CONN_CLOSED, true });
}

static void test_conn_reset_from_both_sides_is_final(void **state)
{
	(void)state;
	WALK(IPPROTO_TCP, { CONN_ORIG, A, CONN_ESTABLISHED, false },
		{ CONN_REPLY, R, CONN_CLOSED, true }, { CONN_REPLY, A, CONN_CLOSED, true },
		{ CONN_ORIG, R, CONN_CLOSED, true }, { CONN_REPLY, A, CONN_CLOSED, true },
		{ CONN_ORIG, A, CONN_CLOSED, true });
}

static void test_conn_udp_and_icmp_are_replied_by_the_other_side_only(void **state)
{
	(void)state;
	WALK(IPPROTO_UDP, { CONN_ORIG, 0, CONN_NEW, true }, { CONN_ORIG, 0, CONN_NEW, true },
		{ CONN_REPLY, 0, CONN_REPLIED, false }, { CONN_ORIG, 0, CONN_REPLIED, false });
	WALK(IPPROTO_ICMP, { CONN_ORIG, 0, CONN_NEW, true },
		{ CONN_REPLY, 0, CONN_REPLIED, false });
}

static void test_conn_that_is_on_its_way_out_never_comes_back(void **state)
{
	struct conn c = { .proto = IPPROTO_TCP };

	(void)state;
	for (int i = 0; i < 2; i++) {
		uint8_t s = i == 0 ? CONN_FREE : CONN_DEAD;

		atomic_store(&c.state, s);
		assert_false(conn_track(&c, CONN_ORIG, S));
		assert_false(conn_track(&c, CONN_REPLY, R));
		assert_int_equal(atomic_load(&c.state), s);
	}
}

static void test_conn_impossible_flags_are_bad(void **state)
{
	static const uint8_t bad[] = { 0, F, S | F, S | R, R | F, S | F | A, R | F | A };
	static const uint8_t good[] = { S, S | A, A, F | A, R, R | A };

	(void)state;
	for (unsigned int i = 0; i < sizeof(bad); i++)
		assert_true(conn_tcp_flags_bad(bad[i]));
	for (unsigned int i = 0; i < sizeof(good); i++)
		assert_false(conn_tcp_flags_bad(good[i]));
}

static void test_conn_time_outs_by_class_and_state(void **state)
{
	(void)state;
	assert_int_equal(conn_timeout_s(IPPROTO_TCP, CONN_ESTABLISHED), 7440);
	assert_int_equal(conn_timeout_s(IPPROTO_UDP, CONN_NEW), 120);
	assert_int_equal(conn_timeout_s(IPPROTO_ICMPV6, CONN_NEW), 60);
	assert_int_equal(conn_timeout_s(IPPROTO_GRE, CONN_REPLIED), 600);
	assert_int_equal(conn_timeout_s(IPPROTO_TCP, CONN_DEAD), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conn_tcp_handshake_and_close),
		cmocka_unit_test(test_conn_tcp_reset_closes_and_no_syn_opens_again),
		cmocka_unit_test(test_conn_tcp_mid_stream_is_picked_up),
		cmocka_unit_test(test_conn_tcp_one_sided_fins_do_not_close_both_sides),
		cmocka_unit_test(test_conn_tcp_every_state_by_direction_and_flags),
		cmocka_unit_test(test_conn_tcp_blind_reset_is_undone_by_the_next_segment),
		cmocka_unit_test(test_conn_tcp_simultaneous_open),
		cmocka_unit_test(test_conn_tcp_opener_alone_stays_half_open),
		cmocka_unit_test(test_conn_sctp_has_the_states_of_tcp),
		cmocka_unit_test(test_conn_reset_from_both_sides_is_final),
		cmocka_unit_test(test_conn_udp_and_icmp_are_replied_by_the_other_side_only),
		cmocka_unit_test(test_conn_that_is_on_its_way_out_never_comes_back),
		cmocka_unit_test(test_conn_impossible_flags_are_bad),
		cmocka_unit_test(test_conn_time_outs_by_class_and_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
