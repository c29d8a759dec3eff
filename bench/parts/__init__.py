"""What is measured, one thing a module: *measure* returns the raw figures, as plain types."""
