"""What several test files use, a module per concept. Fixtures that several files share are in conftest.py."""
