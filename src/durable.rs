//! Writes files so that they survive a power cut.
