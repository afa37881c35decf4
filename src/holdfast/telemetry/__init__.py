"""What facts mean: errors grouped, counted and reported, and events told to a log."""
