"""One file per question that a number answers. `make bench` asks them all and prints the answers."""
