"""Failover on real processes: what clients see when the active server is killed or stopped."""
