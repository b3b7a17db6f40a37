"""What Bastide costs beside a bare script that does the same directory writes. `make bench`; docs/benchmarks.md says what each number means."""
