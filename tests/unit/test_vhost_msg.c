/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "pmd/vhost_guard.h"
#include "pmd/vhost_msg.h"

static const struct vhost_msg_limits limits = {
	.n_vrings = 4, .region_max = 1ull << 30, .features = 0xff00, .protocol_features = 0x0f
};
static const char *why;

static struct vhost_user_msg msg_make(uint32_t request, uint32_t size, uint64_t u64)
{
	struct vhost_user_msg msg;

	memset(&msg, 0, sizeof(msg));
	msg.request = request;
	msg.flags = VHOST_MSG_VERSION;
	msg.size = size;
	msg.u64 = u64;
	why = NULL;
	return msg;
}

static bool is_accepted(const struct vhost_user_msg *msg, unsigned int n_fds)
{
	bool is_ok = vhost_msg_check(msg, n_fds, &limits, &why);

	assert_true(is_ok || why != NULL);
	return is_ok;
}

static void test_vhost_msg_header_of_each_request_has_one_size(void **state)
{
	unsigned int n_known = 0;

	(void)state;
	for (uint32_t request = 0; request < 64; request++) {
		unsigned int n_sizes = 0;

		for (uint32_t size = 0; size < 300; size++) {
			struct vhost_user_msg msg = msg_make(request, size, 0);
			int ret = vhost_msg_header_check(&msg, &why);

			assert_true(ret == -1 || ret == (int)size);
			n_sizes += ret >= 0;
		}
		assert_int_equal(n_sizes, request == VHOST_REQ_SET_MEM_TABLE ? 9 : n_sizes != 0);
		n_known += n_sizes != 0;
	}
	assert_int_equal(n_known, 19);
}

static void test_vhost_msg_flags_other_than_need_reply_are_refused(void **state)
{
	(void)state;
	for (uint32_t flags = 0; flags < 64; flags++) {
		struct vhost_user_msg msg = msg_make(VHOST_REQ_GET_FEATURES, 0, 0);

		msg.flags = flags;
		assert_int_equal(
			is_accepted(&msg, 0), flags == 1 || flags == (1 | VHOST_MSG_F_NEED_REPLY));
	}
}

static void test_vhost_msg_reply_is_due_when_asked_for(void **state)
{
	struct vhost_user_msg msg = msg_make(VHOST_REQ_SET_OWNER, 0, 0);

	(void)state;
	assert_false(vhost_msg_has_reply(&msg));
	msg.flags |= VHOST_MSG_F_NEED_REPLY;
	assert_true(vhost_msg_has_reply(&msg));
	msg = msg_make(VHOST_REQ_GET_VRING_BASE, 8, 0);
	assert_true(vhost_msg_has_reply(&msg));
}

static void test_vhost_msg_ring_indexes_and_sizes_are_limited(void **state)
{
	static const struct {
		uint32_t index, num;
		bool is_ok;
	} cases[] = { { 0, 256, true }, { 3, 1, true }, { 4, 256, false },
		{ UINT32_MAX, 256, false }, { 0, 0, false }, { 0, 255, false },
		{ 0, VHOST_MSG_RING_MAX, true }, { 0, 2 * VHOST_MSG_RING_MAX, false },
		{ 0, UINT32_MAX, false } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vhost_user_msg msg = msg_make(VHOST_REQ_SET_VRING_NUM, 8, 0);

		msg.state.index = cases[i].index;
		msg.state.num = cases[i].num;
		assert_int_equal(vhost_msg_check(&msg, 0, &limits, &why), cases[i].is_ok);
	}
}

static void test_vhost_msg_descriptors_are_counted(void **state)
{
	struct vhost_user_msg kick = msg_make(VHOST_REQ_SET_VRING_KICK, 8, 3);
	struct vhost_user_msg none = msg_make(
		VHOST_REQ_SET_VRING_KICK, 8, 3 | VHOST_MSG_VRING_NOFD);
	struct vhost_user_msg plain = msg_make(VHOST_REQ_SET_FEATURES, 8, 0x100);

	(void)state;
	for (unsigned int n_fds = 0; n_fds < 4; n_fds++) {
		assert_int_equal(is_accepted(&kick, n_fds), n_fds == 1);
		assert_int_equal(is_accepted(&none, n_fds), n_fds == 0);
		assert_int_equal(is_accepted(&plain, n_fds), n_fds == 0);
	}
}

static void test_vhost_msg_features_must_have_been_offered(void **state)
{
	struct vhost_user_msg msg = msg_make(VHOST_REQ_SET_FEATURES, 8, 0x8100);

	(void)state;
	assert_true(is_accepted(&msg, 0));
	msg.u64 = 0x8101;
	assert_false(is_accepted(&msg, 0));
	msg = msg_make(VHOST_REQ_SET_PROTOCOL_FEATURES, 8, 0x10);
	assert_false(is_accepted(&msg, 0));
}

static void test_vhost_msg_memory_regions_are_bounded_and_apart(void **state)
{
	struct vhost_user_msg msg = msg_make(VHOST_REQ_SET_MEM_TABLE, 8 + 64, 0);

	(void)state;
	msg.mem.n_regions = 2;
	msg.mem.regions[0] = (struct vhost_msg_region){ .guest_addr = 0, .size = 4096 };
	msg.mem.regions[1] = (struct vhost_msg_region){ .guest_addr = 4096, .size = 4096 };
	assert_true(is_accepted(&msg, 2));
	assert_false(is_accepted(&msg, 1));
	msg.mem.regions[1].guest_addr = 4095;
	assert_false(is_accepted(&msg, 2));
	msg.mem.regions[1].guest_addr = UINT64_MAX - 4094;
	assert_false(is_accepted(&msg, 2));
	msg.mem.regions[1] = (struct vhost_msg_region){ .guest_addr = 4096, .size = 0 };
	assert_false(is_accepted(&msg, 2));
	msg.mem.regions[1].size = limits.region_max;
	assert_false(is_accepted(&msg, 2));
	msg.mem.regions[1].size = 4096;
	msg.mem.regions[1].mmap_offset = UINT64_MAX - 4095;
	assert_false(is_accepted(&msg, 2));
	msg.mem.regions[1].mmap_offset = 0;
	msg.mem.n_regions = 1;
	assert_false(is_accepted(&msg, 1));
}

static unsigned int faulted_slot;

static void note_fault(unsigned int slot)
{
	faulted_slot = slot;
}

static void test_vhost_guard_truncated_file_reads_as_zero_and_is_reported(void **state)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);
	volatile uint8_t *p;
	dev_t dev;
	ino_t ino;

	(void)state;
	assert_int_equal(ftruncate(fd, 16384), 0);
	assert_true(vhost_guard_fd_check(fd, 16384, &dev, &ino, &why));
	assert_false(vhost_guard_fd_check(fd, 16385, &dev, &ino, &why));
	p = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	p[9000] = 7;
	assert_int_equal(vhost_guard_install(note_fault), 0);
	assert_int_equal(vhost_guard_add(5, dev, ino), 0);
	assert_int_equal(vhost_guard_add(5, dev, ino), 0);
	faulted_slot = 0;
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(p[9000], 0);
	assert_int_equal(faulted_slot, 5);
	p[9000] = 8;
	assert_int_equal(p[9000], 8);
	vhost_guard_del(5);
	vhost_guard_uninstall();
	munmap((void *)(uintptr_t)p, 16384);
	close(fd);
}

static void test_vhost_guard_refuses_what_is_no_shared_memory(void **state)
{
	int event_fd = eventfd(0, EFD_CLOEXEC), zero_fd = open("/dev/zero", O_RDWR | O_CLOEXEC),
	    pipes[2];
	dev_t dev;
	ino_t ino;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_false(vhost_guard_fd_check(event_fd, 0, &dev, &ino, &why));
	assert_false(vhost_guard_fd_check(zero_fd, 0, &dev, &ino, &why));
	assert_false(vhost_guard_fd_check(pipes[0], 0, &dev, &ino, &why));
	assert_false(vhost_guard_fd_check(-1, 0, &dev, &ino, &why));
	assert_true(vhost_guard_is_eventfd(event_fd));
	assert_false(vhost_guard_is_eventfd(pipes[1]));
	assert_false(vhost_guard_is_eventfd(zero_fd));
	assert_false(vhost_guard_is_eventfd(-1));
	close(event_fd);
	close(zero_fd);
	close(pipes[0]);
	close(pipes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vhost_msg_header_of_each_request_has_one_size),
		cmocka_unit_test(test_vhost_msg_flags_other_than_need_reply_are_refused),
		cmocka_unit_test(test_vhost_msg_reply_is_due_when_asked_for),
		cmocka_unit_test(test_vhost_msg_ring_indexes_and_sizes_are_limited),
		cmocka_unit_test(test_vhost_msg_descriptors_are_counted),
		cmocka_unit_test(test_vhost_msg_features_must_have_been_offered),
		cmocka_unit_test(test_vhost_msg_memory_regions_are_bounded_and_apart),
		cmocka_unit_test(test_vhost_guard_truncated_file_reads_as_zero_and_is_reported),
		cmocka_unit_test(test_vhost_guard_refuses_what_is_no_shared_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
