//! Documents, bags and archives.

pub mod identity;
pub mod survey;
