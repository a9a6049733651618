"""The node behind other HTTP servers, for ``bench.http_server`` alone."""
