//! Documents in, a sealed bundle out.
