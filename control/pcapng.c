/* SPDX-License-Identifier: BSD-3-Clause */
#include "control/pcapng.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_IFACE 1u
#define BLOCK_PACKET 6u
#define OPT_COMMENT 1u
#define OPT_IF_NAME 2u
#define OPT_IF_TSRESOL 9u
#define OPT_EPB_FLAGS 2u
#define OPT_USERAPPL 4u
#define LINKTYPE_ETHERNET 1u

static uint32_t padded(uint32_t len)
{
	return (len + 3) & ~3u;
}

static void put32(struct pcapng *p, uint32_t v)
{
	fwrite(&v, sizeof(v), 1, p->file);
}

static void put16(struct pcapng *p, uint16_t v)
{
	fwrite(&v, sizeof(v), 1, p->file);
}

static void put_padded(struct pcapng *p, const void *data, uint32_t len)
{
	static const uint8_t zeros[4];

	fwrite(data, 1, len, p->file);
	fwrite(zeros, 1, padded(len) - len, p->file);
}

static uint32_t option_len(const char *text)
{
	return text != NULL ? 4 + padded((uint32_t)strlen(text)) : 0;
}

static void put_option(struct pcapng *p, uint16_t code, const char *text)
{
	if (text == NULL)
		return;
	put16(p, code);
	put16(p, (uint16_t)strlen(text));
	put_padded(p, text, (uint32_t)strlen(text));
}

int pcapng_open(struct pcapng *p, const char *path, uint32_t snaplen)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	FILE *file;

	*p = (struct pcapng){ .snaplen = snaplen };
	if (fd < 0)
		return -errno;
	file = fdopen(fd, "w");
	if (file == NULL) {
		close(fd);
		return -ENOMEM;
	}
	return pcapng_begin(p, file, snaplen);
}

int pcapng_begin(struct pcapng *p, FILE *file, uint32_t snaplen)
{
	static const char application[] = "leatd " LEAT_VERSION;
	uint32_t len = 28 + option_len(application) + 4;

	*p = (struct pcapng){ .file = file, .snaplen = snaplen };
	put32(p, BLOCK_SECTION);
	put32(p, len);
	put32(p, 0x1a2b3c4d);
	put16(p, 1);
	put16(p, 0);
	put32(p, UINT32_MAX); /* section length: unknown */
	put32(p, UINT32_MAX);
	put_option(p, OPT_USERAPPL, application);
	put32(p, 0);
	put32(p, len);
	return ferror(p->file) != 0 ? -EIO : 0;
}

uint32_t pcapng_add_iface(struct pcapng *p, const char *name)
{
	uint32_t len = 20 + option_len(name) + 8 + 4;

	put32(p, BLOCK_IFACE);
	put32(p, len);
	put16(p, LINKTYPE_ETHERNET);
	put16(p, 0);
	put32(p, p->snaplen);
	put_option(p, OPT_IF_NAME, name);
	put16(p, OPT_IF_TSRESOL);
	put16(p, 1);
	put32(p, 9); /* nanoseconds */
	put32(p, 0);
	put32(p, len);
	return p->n_ifaces++;
}

int pcapng_write(struct pcapng *p, uint32_t iface, uint64_t time_ns, const void *data, uint32_t len,
	uint32_t wire_len, int is_out, const char *comment)
{
	uint32_t block = 32 + padded(len) + option_len(comment) + 8 + 4;

	put32(p, BLOCK_PACKET);
	put32(p, block);
	put32(p, iface);
	put32(p, (uint32_t)(time_ns >> 32));
	put32(p, (uint32_t)time_ns);
	put32(p, len);
	put32(p, wire_len);
	put_padded(p, data, len);
	put_option(p, OPT_COMMENT, comment);
	put16(p, OPT_EPB_FLAGS);
	put16(p, 4);
	put32(p, is_out ? 2 : 1);
	put32(p, 0);
	put32(p, block);
	p->n_pkts++;
	p->n_bytes += len;
	return ferror(p->file) != 0 ? -EIO : 0;
}

int pcapng_close(struct pcapng *p)
{
	int failed;

	if (p->file == NULL)
		return 0;
	failed = ferror(p->file);
	failed |= fclose(p->file) != 0;
	p->file = NULL;
	return failed ? -EIO : 0;
}
