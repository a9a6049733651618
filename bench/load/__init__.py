"""Load generators: wrk and h2load for one repeated request, our own client for everything else."""
