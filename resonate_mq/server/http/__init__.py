"""HTTP: the envelope on `POST /`, streams for poll workers, and what operators look at."""
