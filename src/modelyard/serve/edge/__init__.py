"""Bytes to Requests and Responses to bytes: listening, connections, limits on what clients may do."""
