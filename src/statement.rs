//! Signed statements: dispatch, receipt, opinion.
