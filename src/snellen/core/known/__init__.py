"""What is known of libraries: names of models and packages, builds that go together."""
