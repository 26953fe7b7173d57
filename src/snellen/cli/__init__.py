"""One file a verb: parse, call, render, exit code. Heavy imports stay inside the commands."""
