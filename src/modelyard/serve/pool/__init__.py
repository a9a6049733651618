"""The replicas of one deployment on this node: their queue, their processes, what devices they use."""
