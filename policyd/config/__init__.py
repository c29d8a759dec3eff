"""The rule file: read, checked, and every mistake told with its place and its cure."""
