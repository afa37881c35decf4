"""The promises of a resilience library as probes that any library can be asked.

One module per promise, each with a `probe(peer) -> Result` and nothing of its
own about any library: what a library can do, its adapter in `benchmarks.peers`
says. Every probe runs in a process of its own, under a time limit.
"""
