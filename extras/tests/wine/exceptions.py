"""Unit tests that are left out under Wine, with the reasons. docs/SERVICES-WINDOWS.md says the same to readers."""

EXCEPTIONS = {
    "daemon": {
        "local::tests::a_second_manager_is_refused": "Wine lets a second process make the first instance of a named pipe",
    },
}
