/* SPDX-License-Identifier: BSD-3-Clause */
/* Tells the service manager about our state (sd_notify(3) protocol). */
#ifndef LEAT_NOTIFY_H
#define LEAT_NOTIFY_H

/* "READY=1", "STOPPING=1" …; nothing happens without NOTIFY_SOCKET. */
void notify_send(const char *text);

#endif
