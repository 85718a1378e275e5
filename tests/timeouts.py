"""How long tests wait for what must come.

No test takes a length of time for a sign that something has happened: it waits for
the thing itself, and these seconds are so many that only a fault uses them up.
"""

SECONDS = 600
