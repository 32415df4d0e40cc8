//! Documents, bags and archives.

pub mod path;
pub mod document;
pub mod survey;
pub mod identity;
pub mod descriptor;
