"""What the node tells about itself: metrics, traces, a line per failed request, the models' own words."""
