"""The test suite: real processes, real brokers, real clocks."""
