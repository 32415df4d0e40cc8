//! The log leaf: one strict JSON line, chained to the one before.
