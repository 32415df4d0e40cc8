//! One release, step by step.
