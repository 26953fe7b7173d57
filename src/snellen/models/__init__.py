"""Networks and detectors, each with a contract that says what it takes and gives."""
