//! The seeded whole-system simulator.
