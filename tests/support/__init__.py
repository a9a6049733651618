"""What several tests start: real nodes, real models, small enough to be quick."""
