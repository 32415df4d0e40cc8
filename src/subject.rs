//! The keys of subjects: one patient, one key, outside the store.
