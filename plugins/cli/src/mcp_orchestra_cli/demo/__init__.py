"""A tour with real servers: connecting, gathering, caching, failover and recovery, each shown and measured."""
