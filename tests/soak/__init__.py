"""What the cache does in the long run, among failures: proofs that take as long as they are given.

``MCP_ORCHESTRA_TEST_STEPS`` and ``MCP_ORCHESTRA_TEST_SECONDS`` say how long. Without them it is a few seconds, as a
part of the suite; ``nox -s soak`` takes its time.
"""
