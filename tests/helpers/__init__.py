"""What several test files use, a module per concept. Fixtures that several files share are in conftest.py."""

import pytest

# So that their assertions, too, say what they compared.
pytest.register_assert_rewrite("helpers.inputs", "helpers.workflow")
