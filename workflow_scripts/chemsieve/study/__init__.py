"""What a study consists of: its configuration, budgets, demands, runs, and the steps that it goes on without."""
