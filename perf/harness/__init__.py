# SPDX-License-Identifier: BSD-3-Clause
"""What perf/run is made of: processes, gate, generator, peers, scenarios."""
