"""What a message says, told in a few keyed numbers: which messages are alike, and which are not."""
