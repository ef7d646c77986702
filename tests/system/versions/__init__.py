"""A small application in two versions, to be run side by side on one store by `tests.system.test_versions`."""
