"""The acceptable-use policy: whom a limit holds to, what counts, and what is answered."""
