/* SPDX-License-Identifier: BSD-3-Clause */
/* The other half of kind "ethdev": devices "net_af_packetN,iface=NAME" (see kind_packet.c). */
#ifndef LEAT_PMD_KIND_PACKET_H
#define LEAT_PMD_KIND_PACKET_H

#include "datapath/pipeline/port.h"

extern const struct port_ops packet_ops;

#endif
