"""What holds in the long run, among failures: proofs that take as long as they are given.

``MCP_ORCHESTRA_TEST_STEPS``, ``MCP_ORCHESTRA_TEST_SECONDS`` and ``MCP_ORCHESTRA_TEST_SOAK_SECONDS`` say how long that
is. Without them it is seconds, as a part of the suite; ``nox -s soak`` takes its time.
"""
