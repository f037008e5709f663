/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Network address and port translation of single packets, outside the fast path: what its compiled rewrite does not know (fragments, SCTP,
 * odd protocols, ICMP errors). All checksums are updated incrementally, so a wrong one stays wrong and
 * the receiver finds out. Chains may be cut at any byte. No state; owner of the mbuf, which must not be shared; any worker.
 *
 * pkt is what parse_frame() said about the packet; l3_off is where its IP header is now, which may be elsewhere than when it
 * was parsed. pkt describes the old packet afterwards. False: cannot be translated, and nothing was changed.
 */
#ifndef LEAT_PACKET_TRANSLATE_H
#define LEAT_PACKET_TRANSLATE_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "datapath/base/addr.h"
#include "datapath/packet/parse.h"

/* The new tuple, addresses of the packet's own family. ICMP echo: the identifier is sport. */
struct translation {
	struct ip_addr src, dst;
	rte_be16_t sport, dport;
};

/*
 * Writes the new tuple into a packet: addresses always; ports or identifier of TCP, UDP, SCTP and ICMP echo when the packet
 * shows them. A later fragment has none; the checksum in a first one covers the datagram and is updated. An unfinished checksum
 * (port.h) stays a pseudo-header sum, of the new addresses. UDP-Lite, DCCP and ICMPv6 messages have their checksum updated, over IPv6
 * OSPF and PIM too; of other protocols only the addresses change.
 *
 * False: another family, an ICMP error, an IPv6 routing header (the checksum covers another destination), new SCTP ports in a
 * first fragment (its CRC covers what is not there), a header cut short.
 */
bool translate_packet(struct rte_mbuf *m, uint16_t l3_off, const struct parsed *pkt,
	const struct translation *to);

/*
 * Writes new outer addresses and the quoted packet's new tuple into an ICMP or ICMPv6 error (RFC 5508 s. 4.2). Checksums in the
 * quote are updated where the quote reaches them; what follows it stays (RFC 4884). An SCTP checksum in the quote of a fragment
 * is left alone.
 *
 * False: no ICMP error or a later fragment of one, another family, a quote that does not parse.
 */
bool translate_icmp_error(struct rte_mbuf *m, uint16_t l3_off, const struct parsed *pkt,
	const struct ip_addr *src, const struct ip_addr *dst, const struct translation *quoted);

#endif
