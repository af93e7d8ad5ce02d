"""What a running stack shows of itself: captures, snapshots, metrics."""
