"""gRPC over our HTTP/2: the V2 inference service, health and reflection, on the dataplane that REST uses."""
