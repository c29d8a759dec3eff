"""What can be wrong between Postfix and policyd, and the cure; from plain texts, without I/O."""
