//! What the operator gives: medseal.toml, and every limit with its unit and default.
