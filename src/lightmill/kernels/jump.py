def median_variance(n): return 1.,1.
