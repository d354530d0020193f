"""How fast the cache is, beside what else there is: ratios of medians from one run.

``cd tests && python -m benchmarks`` with the dependency group ``benchmark`` installed, or ``nox -s benchmarks``.
"""
