"""One task owns one server's connection; everyone else only uses it. All of core's dealings with the SDK are here."""
