"""What the benchmark scripts share: statistics, processes and their cost, load, and the servers side by side."""
