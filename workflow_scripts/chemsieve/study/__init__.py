"""What a study consists of: its configuration, its plan, its steps and what they take, budgets, and runs."""
