"""What `perf/run` is made of: contenders, scenarios, rounds, the table and the plots. Standard library only."""
