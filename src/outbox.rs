//! What waits to leave.
