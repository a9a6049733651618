"""The models that the questions are asked of: their files, their requests, their right answers."""
