//! What must survive: records' bytes, journal, recovery, and a simulated disk for tests.
