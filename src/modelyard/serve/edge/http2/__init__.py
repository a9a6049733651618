"""HTTP/2 of our own (RFC 9113), server side, over plain TCP with prior knowledge: REST and gRPC run over it."""
