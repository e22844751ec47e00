"""What every step does around its work: logs, locks, processes, devices, files, and what a step's code is."""
