import configuration_page


def test_the_page_of_the_configuration_says_what_the_types_say():
    """When it does not: .venv/bin/python tests/configuration_page.py."""
    assert configuration_page.PAGE.read_text() == configuration_page.page()
