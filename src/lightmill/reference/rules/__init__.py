"""Rules that choose reference files: read safely, looked up fast, able to explain themselves."""
