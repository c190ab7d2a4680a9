"""Unit tests that are left out under Wine, with the reasons. docs/SERVICES-WINDOWS.md says the same to readers."""

SHELL = "its task is a shell script, whose process is then looked for in /proc"

EXCEPTIONS = {
    "daemon": {
        "local::tests::a_second_manager_is_refused": "Wine lets a second process make the first instance of a named pipe",
    },
    "worker": {
        "worker::tests::a_revoked_worker_ends_its_tasks_and_itself": SHELL,
        "worker::tests::cancelling::what_waits_is_given_back_what_runs_is_ended_and_reported_and_the_rest_goes_on": SHELL,
        "worker::tests::waiting::what_is_taken_back_is_given_back_unless_it_has_started":
            "a program that takes long to start has the worker give back by itself what waits behind it",
    },
}
