"""The composed graph on Ray Serve, its HTTP contract and its client."""
