"""`python -m snellen` is the command `snellen`."""

from snellen.cli.main import main

main()
