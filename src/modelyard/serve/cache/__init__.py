"""Answers kept: in this process by bytes and age, in Redis for all nodes, and shared while they are made."""
