/* SPDX-License-Identifier: BSD-3-Clause */
/* What the metrics are. Names and units by OpenMetrics: base units, counters end in _total. */
#include <inttypes.h>

#include "control/degraded.h"
#include "control/devices.h"
#include "control/instance.h"
#include "control/load.h"
#include "control/loop.h"
#include "control/metrics.h"
#include "control/metrics_format.h"
#include "control/metrics_objects.h"
#include "control/neighd.h"
#include "control/node_routes.h"
#include "control/server.h"
#include "control/state.h"
#include "control/tables.h"
#include "datapath/base/drop.h"
#include "datapath/table/endpoint.h"
#include "datapath/table/route.h"
#include "pmd/eal.h"
#include "pmd/mempool.h"
#include "pmd/portmgr.h"

static void write_ports(struct evbuffer *out)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} rows[] = {
		{ "leat_port_receive_packets", "Packets received.",
			offsetof(struct port_stats, rx_pkts) },
		{ "leat_port_receive_bytes", "Bytes received.",
			offsetof(struct port_stats, rx_bytes) },
		{ "leat_port_transmit_packets", "Packets sent.",
			offsetof(struct port_stats, tx_pkts) },
		{ "leat_port_transmit_bytes", "Bytes sent.",
			offsetof(struct port_stats, tx_bytes) },
	};
	struct port_stats stats;

	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		metrics_family(out, rows[row].name, "counter", rows[row].help);
		for (const struct port *port = port_next(NULL); port != NULL;
			port = port_next(port)) {
			uint64_t value;

			port_stats_sum(port, &stats);
			memcpy(&value, (const char *)&stats + rows[row].offset, sizeof(value));
			evbuffer_add_printf(out, "%s_total{port=\"%s\"} %" PRIu64 "\n",
				rows[row].name, port->name, value);
		}
	}
	metrics_family(out, "leat_port_drops", "counter", "Packets discarded, by reason.");
	for (const struct port *port = port_next(NULL); port != NULL; port = port_next(port)) {
		port_stats_sum(port, &stats);
		for (int reason = 1; reason < DROP_N; reason++)
			if (stats.drops[reason] > 0)
				evbuffer_add_printf(out,
					"leat_port_drops_total{port=\"%s\",reason=\"%s\"} %" PRIu64
					"\n",
					port->name, drop_name((enum drop_reason)reason),
					stats.drops[reason]);
	}
	metrics_family(out, "leat_port_up", "gauge", "1 if the far side is there.");
	for (const struct port *port = port_next(NULL); port != NULL; port = port_next(port))
		evbuffer_add_printf(
			out, "leat_port_up{port=\"%s\"} %d\n", port->name, port->ops->is_up(port));
	metrics_family(out, "leat_port_device_missing", "gauge",
		"1 while the port is without its device.");
	for (const struct port *port = port_next(NULL); port != NULL; port = port_next(port))
		evbuffer_add_printf(out, "leat_port_device_missing{port=\"%s\"} %d\n", port->name,
			devices_missing(port) != NULL);
	metrics_family(
		out, "leat_port_link_changes", "counter", "Times that link or device changed.");
	for (const struct port *port = port_next(NULL); port != NULL; port = port_next(port))
		evbuffer_add_printf(out, "leat_port_link_changes_total{port=\"%s\"} %" PRIu64 "\n",
			port->name, devices_n_changes(port));
}

static void write_memory(struct evbuffer *out)
{
	struct mempool_usage usage;
	struct eal_hugepages huge;

	mempool_usage_read(&usage);
	metrics_gauge(out, "leat_mbufs", "Packet buffers.", usage.size);
	metrics_gauge(out, "leat_mbufs_in_use", "Packet buffers in use.", usage.in_use);
	metrics_gauge(
		out, "leat_mbufs_reserved", "Packet buffers that ports may hold.", usage.reserved);
	if (eal_hugepages_read(&huge) == 0) {
		metrics_gauge(out, "leat_hugepages", "Hugepages of the machine.", huge.n_total);
		metrics_gauge(
			out, "leat_hugepages_free", "Free hugepages of the machine.", huge.n_free);
	}
}

static void write_workers(struct evbuffer *out)
{
	static const struct {
		const char *name, *help;
		size_t offset;
	} rows[] = {
		{ "leat_worker_packets", "Packets taken up.",
			offsetof(struct worker_stats, n_rx_pkts) },
		{ "leat_worker_hits", "Packets of known flows.",
			offsetof(struct worker_stats, n_hits) },
		{ "leat_worker_slow", "Packets that walked the layers.",
			offsetof(struct worker_stats, n_slow) },
		{ "leat_worker_connections_created", "New connections.",
			offsetof(struct worker_stats, n_new_conns) },
		{ "leat_worker_policy_logs_lost", "Policy log messages over the limit.",
			offsetof(struct worker_stats, n_logs_lost) },
		{ "leat_worker_busy_cycles", "TSC cycles with packets.",
			offsetof(struct worker_stats, busy_cycles) },
		{ "leat_worker_idle_cycles", "TSC cycles without.",
			offsetof(struct worker_stats, idle_cycles) },
	};
	struct worker_load load;

	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		metrics_family(out, rows[row].name, "counter", rows[row].help);
		for (unsigned int i = 0; i < worker_count; i++) {
			uint64_t value;

			load_read(i, &load);
			memcpy(&value, (const char *)&load.total + rows[row].offset, sizeof(value));
			evbuffer_add_printf(out, "%s_total{worker=\"%u\"} %" PRIu64 "\n",
				rows[row].name, i, value);
		}
	}
}

static void write_conns(struct evbuffer *out)
{
	static const struct {
		const char *family;
		const struct flowtab *table;
	} tables[] = { { "v4", &tables_flow4 }, { "v6", &tables_flow6 } };

	metrics_family(out, "leat_connections", "gauge", "Tracked connections.");
	for (int i = 0; i < 2; i++)
		evbuffer_add_printf(out, "leat_connections{family=\"%s\"} %u\n", tables[i].family,
			flowtab_n_used(tables[i].table));
	metrics_family(out, "leat_connections_limit", "gauge", "Connections that the table holds.");
	for (int i = 0; i < 2; i++)
		evbuffer_add_printf(out, "leat_connections_limit{family=\"%s\"} %u\n",
			tables[i].family, tables[i].table->n_conns);
}

static void write_neighbours(struct evbuffer *out)
{
	metrics_counter(out, "leat_neighbour_requests", "ARP and ND requests sent.",
		neighd_stats.n_requests);
	metrics_counter(
		out, "leat_neighbour_answers", "Answers learned from.", neighd_stats.n_learned);
	metrics_counter(out, "leat_neighbour_failures", "Neighbours that did not answer.",
		neighd_stats.n_failed);
	metrics_counter(out, "leat_neighbour_held_packets", "Packets that waited for an answer.",
		neighd_stats.n_held);
	metrics_gauge(
		out, "leat_neighbour_holding", "Packets that wait now.", neighd_stats.n_holding);
}

static void write_state(struct evbuffer *out)
{
	const struct state_counts *counts = state_get_counts();

	metrics_gauge(out, "leat_restore_failures",
		"Saved objects that could not be brought back at the start.", counts->n_failed);
	metrics_gauge(out, "leat_restore_unreadable",
		"Lines and calls of the state file that could not be read.", counts->n_bad);
	metrics_gauge(out, "leat_state_writable",
		"0 while the state file cannot be written, and changes are refused.",
		state_write_error() == 0);
	metrics_counter(out, "leat_state_write_failures", "Writes and syncs that failed.",
		counts->n_write_failed);
}

void metrics_write(struct evbuffer *out, enum metrics_format format)
{
	struct route_stats routes;

	metrics_format_set(format);
	metrics_family(out, "leat_build", "info", "Version of leatd.");
	evbuffer_add_printf(out, "leat_build_info{version=\"" LEAT_VERSION "\",daemon=\"%s\"} 1\n",
		instance.name);
	metrics_gauge(out, "leat_ready", "1 when everything has been restored.", instance.is_ready);
	metrics_gauge(out, "leat_degraded",
		"Parts that do not work as configured; status names them.",
		degraded_list(NULL, NULL));
	metrics_gauge(out, "leat_node_routes", "Routes of the node's kernel towards leatd.",
		node_routes_n_installed());
	metrics_gauge(out, "leat_node_routes_waiting",
		"Routes that the kernel is still to be told.", node_routes_n_waiting());
	metrics_gauge(out, "leat_uptime_seconds", "Time since the start.",
		(loop_now_ns() - instance.started_ns) / 1000000000ull);
	route_get_stats(&routes);
	metrics_gauge(out, "leat_endpoints", "Endpoints.", endpoint_count());
	metrics_gauge(out, "leat_routes", "Routes.", routes.n_v4 + routes.n_v6);
	metrics_counter(out, "leat_control_calls", "API calls.", server_stats.n_calls);
	metrics_counter(
		out, "leat_control_errors", "API calls that failed.", server_stats.n_errors);
	metrics_gauge(out, "leat_control_clients", "Connected clients.", server_stats.n_clients);
	metrics_counter(out, "leat_control_clients_refused", "Clients that were turned away.",
		server_stats.n_refused);
	metrics_counter(out, "leat_control_events_lost", "Events that slow clients did not get.",
		server_stats.n_events_lost);
	write_workers(out);
	write_conns(out);
	write_neighbours(out);
	write_ports(out);
	write_memory(out);
	metrics_objects_write(out);
	write_state(out);
	metrics_end(out);
}
