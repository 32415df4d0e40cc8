//! Partners: signed cards, fingerprints, roll-over.
